"""The rack daemon: owns the machines and controls their power.

Runs in the lab's pod with only the standard library, and imports nothing outside this package. It does not depend on
the product under test: it works with any boot server that speaks DHCP, TFTP and HTTP, and with any initramfs that a
Linux kernel could run.
"""
