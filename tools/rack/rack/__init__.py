"""The rack: a bare-metal lab in one privileged pod, on which the real product is tested."""
