"""The kind BuildTrigger: an event in GitLab leads to a ClusterBuild."""
