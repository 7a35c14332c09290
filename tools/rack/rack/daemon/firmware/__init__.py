"""A machine's firmware: everything between its power button and the first process of the booted system.

Runs as process 1 of the machine's namespaces. PXE, iPXE and the kernel's start behave like the real ones, over a real
network; at the end this process becomes `/init` or `/sbin/init`.
"""
