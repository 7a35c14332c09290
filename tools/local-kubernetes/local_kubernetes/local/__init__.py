"""A Kubernetes of plain processes, each cluster in network, mount and process namespaces of its own."""
