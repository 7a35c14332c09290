"""A controller for any kind; it knows no kind in particular."""
