> nodes n[1-2] keep=n1 reachable=120
> at 0
  n2: power off: attempt 1
  = off n2
> at 60 probe n1=UNREACHABLE power n2=Off
  n2: stage, power on: it is off
  = stage n2
  = on n2
> at 120 probe n1=UNREACHABLE
  n1: give up: NeverReachable: SSH didn't answer within 120 s (n1: unreachable)
  n2: try again: NeverPoweredOn: power control reads Unknown, not on, after 60 s
  n2: power off: attempt 2, after NeverPoweredOn
  = off n2
  . n1: attempt 0, nothing: it has failed, NeverReachable
  . n2: attempt 2, power off, NeverPoweredOn
