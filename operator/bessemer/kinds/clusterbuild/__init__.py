"""ClusterBuild: one cluster, from power button to verified Slurm job."""
