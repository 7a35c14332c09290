"""Which jobs wait in GitLab for a pool."""
