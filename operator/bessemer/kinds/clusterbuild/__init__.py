"""The kind ClusterBuild: one cluster, from powering on the machines to a verified Slurm job."""
