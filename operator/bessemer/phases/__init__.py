"""The programs that run in phase pods: one module per phase."""
