> nodes n1 attempts=2 netboot=300
> at 0
  n1: power off: attempt 1
  = off n1
> at 1 power n1=Off
  n1: stage, power on: it is off
  = stage n1
  = on n1
> at 2 power n1=On
  n1: wait for its network boot: it is on
> at 301
> at 302
  n1: try again: NeverNetbooted: didn't ask for its boot script within 300 s
  n1: power off: attempt 2, after NeverNetbooted
  = off n1
> at 303 power n1=Off
  n1: stage, power on: it is off
  = stage n1
  = on n1
> at 304 power n1=On event n1=started,2
  n1: wait for its network boot: it is on
  n1: wait for the install to end: the installer called back
> at 310 event n1=finished,2
  n1: wait for SSH: the installer has finished
> at 320 probe n1=ANSWERS
  n1: installed: SSH answers with the planted host key
  . n1: attempt 2, nothing: it is installed, -
