"""A Kubernetes of plain processes, each cluster in separate network, mount and process namespaces."""
