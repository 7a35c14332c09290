"""The rack daemon: owns the machines and is the truth about their power.

Runs in the lab's pod on the standard library alone and imports nothing outside this package. It knows nothing of the
product under test: any boot server that speaks DHCP, TFTP and HTTP, and any initramfs that a Linux kernel could run,
would do.
"""
