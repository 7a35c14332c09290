> nodes n[1-4] attempts=2 concurrent=2 power=60
> at 0
  n1: power off: attempt 1
  n2: power off: attempt 1
  = off n1 n2
> at 1 power n1=Off power n2=On
  n1: stage, power on: it is off
  = stage n1
  = on n1
> at 2 power n1=On event n1=started,1
  n1: wait for its network boot: it is on
  n1: wait for the install to end: the installer called back
> at 3 event n1=finished,1
  n1: wait for SSH: the installer has finished
> at 4 probe n1=ANSWERS
  n1: installed: SSH answers with the planted host key
  n3: power off: attempt 1
  = off n3
> at 60 power n2=On power n3=Off
  n2: try again: NeverPoweredOn: power control reads On, not off, after 60 s
  n3: stage, power on: it is off
  n2: power off: attempt 2, after NeverPoweredOn
  = off n2
  = stage n3
  = on n3
> at 61 power n3=On event n3=started,1 power n2=Off
  n2: stage, power on: it is off
  n3: wait for its network boot: it is on
  n3: wait for the install to end: the installer called back
  = stage n2
  = on n2
> at 62 event n3=finished,1 probe n3=ANSWERS
  n3: wait for SSH: the installer has finished
  n3: installed: SSH answers with the planted host key
  n4: power off: attempt 1
  = off n4
  . n1: attempt 1, nothing: it is installed, -
  . n2: attempt 2, power on, NeverPoweredOn
  . n3: attempt 1, nothing: it is installed, -
  . n4: attempt 1, power off, -
