"""The GitLab client: waiting jobs, runners of pools, and the webhooks that GitLab sends."""
