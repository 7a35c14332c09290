"""Power control: on, off, cycle and state, each for many nodes at once."""
