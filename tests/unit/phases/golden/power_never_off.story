> nodes n1 attempts=2 power=60
> at 0
  n1: power off: attempt 1
  = off n1
> at 10 power n1=On
> at 15 power n1=On complain n1=d0:_connect_timeout
  n1: power off again: no effect in 15 s
  = off n1
> at 30 power n1=Unknown complain n1=d0:_connect_timeout
  n1: power off again: no effect in 15 s
  = off n1
> at 60 power n1=On complain n1=d0:_connect_timeout
  n1: try again: NeverPoweredOn: power control reads On, not off, after 60 s (d0: connect timeout)
  n1: power off: attempt 2, after NeverPoweredOn
  = off n1
> at 61 power n1=On
> at 130 power n1=On
  n1: give up: NeverPoweredOn: power control reads On, not off, after 60 s
  = withdraw n1
  . n1: attempt 2, nothing: it has failed, NeverPoweredOn
