"""Checks of the Helm charts that need no cluster."""
