"""A controller for any kind; it knows none."""
