"""``bessemer job``: what a job of a GitLab pipeline runs, without any rights in Kubernetes."""
