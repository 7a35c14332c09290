"""The ClusterBuild as users write and read it."""
