"""Which jobs in GitLab wait for a pool."""
