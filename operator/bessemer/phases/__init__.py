"""What runs inside a phase pod: one module per phase, and the doors to the machines."""
