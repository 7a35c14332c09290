> nodes n[1-3] attempts=1 netboot=300 install=1800
> at 0
  n1: power off: attempt 1
  n2: power off: attempt 1
  n3: power off: attempt 1
  = off n1 n2 n3
> at 1 power n[1-3]=Off
  n1: stage, power on: it is off
  n2: stage, power on: it is off
  n3: stage, power on: it is off
  = stage n1 n2 n3
  = on n1 n2 n3
> at 2 power n[1-3]=On event n1=script,1 event n2=script,1 event n3=script,1
  n1: wait for its network boot: it is on
  n2: wait for its network boot: it is on
  n3: wait for its network boot: it is on
> at 40 event n1=kernel,1 event n2=kernel,1
  n1: wait for the installer's call: it asks for its kernel
  n2: wait for the installer's call: it asks for its kernel
> at 41 event n2=initrd,1,1_of_2
> at 80 event n1=script,1
> at 90 event n1=refused,1,script:_5_boots,_and_the_installer_never_called_back
> at 302
  n3: give up: NeverNetbooted: asked for its boot script, but not for its kernel within 300 s
  = withdraw n3
> at 339
> at 340
  n1: give up: NeverNetbooted: asked for its kernel, but not for its initial RAM disk within 300 s (refused script: 5 boots, and the installer never called back)
  n2: give up: NeverNetbooted: asked for initial RAM disk 1 of 2, but not for the next within 300 s
  = withdraw n1 n2
  . n1: attempt 1, nothing: it has failed, NeverNetbooted
  . n2: attempt 1, nothing: it has failed, NeverNetbooted
  . n3: attempt 1, nothing: it has failed, NeverNetbooted
