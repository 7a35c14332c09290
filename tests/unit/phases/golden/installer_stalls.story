> nodes n1 attempts=1 install=600
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
> at 601
> at 602
  n1: give up: InstallStalled: the installer didn't finish within 600 s
  = withdraw n1
  . n1: attempt 1, nothing: it has failed, InstallStalled
