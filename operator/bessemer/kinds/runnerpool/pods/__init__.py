"""The pods of a pool as Kubernetes shows them."""
