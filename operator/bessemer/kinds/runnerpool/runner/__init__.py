"""The GitLab runner of a pool: its Secrets, token, service account and manager records."""
