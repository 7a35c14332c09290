"""One package per kind; none of them knows another."""
