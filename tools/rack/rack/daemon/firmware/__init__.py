"""A machine's firmware: what happens between its power button and the first process of what it boots.

Runs as process 1 of the machine's own namespaces. PXE, iPXE and the kernel's start are done as the real ones do, over
the real wire; at the end this process becomes `/init` or `/sbin/init`.
"""
