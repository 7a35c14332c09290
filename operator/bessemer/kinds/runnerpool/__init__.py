"""The kind RunnerPool: GitLab runner pods that exist only while there are jobs."""
