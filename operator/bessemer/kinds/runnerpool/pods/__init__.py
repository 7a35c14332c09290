"""The pods of a pool as reported by Kubernetes."""
