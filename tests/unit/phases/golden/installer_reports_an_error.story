> nodes n[1-2] attempts=2
> at 0
  n1: power off: attempt 1
  n2: power off: attempt 1
  = off n1 n2
> at 1 power n[1-2]=Off
  n1: stage, power on: it is off
  n2: stage, power on: it is off
  = stage n1 n2
  = on n1 n2
> at 2 power n[1-2]=On event n[1-2]=started,1
  n1: wait for its network boot: it is on
  n1: wait for the install to end: the installer called back
  n2: wait for its network boot: it is on
  n2: wait for the install to end: the installer called back
> at 30 event n1=failed,1,/dev/sdb_is_no_block_device event n2=finished,1
  n1: try again: InstallFailed: the installer reports: /dev/sdb is no block device
  n2: wait for SSH: the installer has finished
  n1: power off: attempt 2, after InstallFailed
  = off n1
> at 31 power n1=Off probe n2=ANSWERS
  n1: stage, power on: it is off
  n2: installed: SSH answers with the planted host key
  = stage n1
  = on n1
> at 32 power n1=On event n1=started,2
  n1: wait for its network boot: it is on
  n1: wait for the install to end: the installer called back
> at 60 event n1=failed,2,installer:_network:_eth0|wget:_connection_refused|installer:_error:_cannot_fetch
  n1: give up: InstallFailed: the installer reports: cannot fetch / wget: connection refused
  = withdraw n1
  . n1: attempt 2, nothing: it has failed, InstallFailed
  . n2: attempt 1, nothing: it is installed, -
