"""A Docker or Podman of our own, in namespaces: unpacked rather than installed, and gone without a trace."""
