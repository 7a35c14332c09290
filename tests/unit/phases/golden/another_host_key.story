> nodes n1 attempts=1 reachable=120
> at 0
  n1: power off: attempt 1
  = off n1
> at 1 power n1=Off
  n1: stage, power on: it is off
  = stage n1
  = on n1
> at 2 power n1=On event n1=started,1
  n1: wait for its network boot: it is on
  n1: wait for the install to end: the installer called back
> at 30 event n1=finished,1
  n1: wait for SSH: the installer has finished
> at 60 probe n1=WRONG_HOST_KEY
> at 150 probe n1=WRONG_HOST_KEY
  n1: give up: HostKeyMismatch: another host key for 120 s (n1: wrong host key)
  = withdraw n1
  . n1: attempt 1, nothing: it has failed, HostKeyMismatch
