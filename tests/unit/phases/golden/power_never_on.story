> nodes n1 attempts=1 power=60
> at 0
  n1: power off: attempt 1
  = off n1
> at 1 power n1=Off
  n1: stage, power on: it is off
  = stage n1
  = on n1
> at 20 power n1=Off
  n1: power on again: no effect in 15 s
  = on n1
> at 62 power n1=Off
  n1: give up: NeverPoweredOn: power control reads Off, not on, after 60 s
  = withdraw n1
  . n1: attempt 1, nothing: it has failed, NeverPoweredOn
