"""The door to power control: on, off, cycle, state, each for many nodes at once."""
