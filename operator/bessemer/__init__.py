"""Bessemer turns bare metal into a verified Slurm cluster from one Kubernetes object."""
