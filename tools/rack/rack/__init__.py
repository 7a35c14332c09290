"""The rack: a bare-metal lab in one privileged pod, against which the real product is run."""
