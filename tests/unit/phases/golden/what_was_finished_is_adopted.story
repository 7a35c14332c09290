> nodes n[1-2] adopt=n1
> at 0
  n2: power off: attempt 1
  = off n2
> at 1 probe n1=ANSWERS power n2=Off
  n1: installed: SSH answers with the planted host key
  n2: stage, power on: it is off
  = stage n2
  = on n2
  . n1: attempt 1, nothing: it is installed, -
  . n2: attempt 1, power on, -
