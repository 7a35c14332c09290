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
> at 60 probe n1=UNKNOWN
> at 149 probe n1=UNKNOWN
> at 160 probe n1=UNREACHABLE
> at 268 probe n1=UNREACHABLE
> at 269 probe n1=UNREACHABLE
  n1: give up: NeverReachable: SSH didn't answer within 120 s (n1: unreachable)
  = withdraw n1
  . n1: attempt 1, nothing: it has failed, NeverReachable
