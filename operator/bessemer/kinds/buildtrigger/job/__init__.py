"""The button: jobs of GitLab's pipelines ask for a build of their commit, follow it and abort it."""
