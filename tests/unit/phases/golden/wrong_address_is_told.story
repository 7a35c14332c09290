> nodes n1 attempts=1 netboot=300
> at 0
  n1: power off: attempt 1
  = off n1
> at 1 power n1=Off
  n1: stage, power on: it is off
  = stage n1
  = on n1
> at 2 power n1=On
  n1: wait for its network boot: it is on
> at 50 event n1=refused,1,address_10.0.0.9_instead_of_10.0.0.1
> at 302
  n1: give up: NeverNetbooted: didn't ask for its boot script within 300 s (refused address 10.0.0.9 instead of 10.0.0.1)
  = withdraw n1
  . n1: attempt 1, nothing: it has failed, NeverNetbooted
