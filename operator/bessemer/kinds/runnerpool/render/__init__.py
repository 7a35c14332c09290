"""Renders the Kubernetes objects and configuration files of a pool. Pure."""
