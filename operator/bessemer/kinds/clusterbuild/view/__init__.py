"""What the command shows of a ClusterBuild."""
