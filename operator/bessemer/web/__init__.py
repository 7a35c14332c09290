"""What the operator serves over HTTP: progress of phases, metrics, health."""
