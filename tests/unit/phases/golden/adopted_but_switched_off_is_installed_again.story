> nodes n1 adopt=n1
> at 0 power n1=On
> at 1 power n1=Off
  n1: try again: NeverReachable: installed by an earlier attempt, but switched off
  n1: power off: attempt 1, after NeverReachable
  = off n1
> at 2 power n1=Off
  n1: stage, power on: it is off
  = stage n1
  = on n1
  . n1: attempt 1, power on, NeverReachable
