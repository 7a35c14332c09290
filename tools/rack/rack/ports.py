"""Ports of the lab's pod, the same on its Service."""

BOOT_HOST_PORT = 2200
"""SSH of the boot host."""
MANAGEMENT_PORT = 2201
"""SSH of the management machine."""
POWERMAN_PORT = 10101
