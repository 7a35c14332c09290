"""The Kubernetes objects and configuration files of a pool: pure."""
