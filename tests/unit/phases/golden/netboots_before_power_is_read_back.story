> nodes n1
> at 0
  n1: power off: attempt 1
  = off n1
> at 1 power n1=Off
  n1: stage, power on: it is off
  = stage n1
  = on n1
> at 2 event n1=started,1
  n1: wait for its network boot: it is on
  n1: wait for the install to end: the installer called back
> at 3 event n1=finished,1 probe n1=ANSWERS
  n1: wait for SSH: the installer has finished
  n1: installed: SSH answers with the planted host key
  . n1: attempt 1, nothing: it is installed, -
