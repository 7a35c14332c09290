"""Programs of an attacker, which the end-to-end tests run in pods: a harmful GitLab, and a sender of webhooks."""
