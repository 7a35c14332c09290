> nodes n[1-2]
> at 0
  n1: power off: attempt 1
  n2: power off: attempt 1
  = off n1 n2
> at 1 power n[1-2]=Off
  n1: stage, power on: it is off
  n2: stage, power on: it is off
  = stage n1 n2
  = on n1 n2
> at 2 power n[1-2]=On
  n1: wait for its network boot: it is on
  n2: wait for its network boot: it is on
> at 10 event n1=script,1 event n1=started,1
  n1: wait for the install to end: the installer called back
> at 12 event n2=started,1 event n1=started,1
  n2: wait for the install to end: the installer called back
> at 60 event n1=finished,1
  n1: wait for SSH: the installer has finished
> at 61 probe n1=UNREACHABLE event n2=finished,1
  n2: wait for SSH: the installer has finished
> at 70 probe n[1-2]=ANSWERS
  n1: installed: SSH answers with the planted host key
  n2: installed: SSH answers with the planted host key
  . n1: attempt 1, nothing: it is installed, -
  . n2: attempt 1, nothing: it is installed, -
