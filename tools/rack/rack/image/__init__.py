"""Builds the lab's image: the rack, its boot host, and what the boot host serves to machines."""
