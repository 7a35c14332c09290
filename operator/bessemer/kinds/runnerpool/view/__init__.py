"""What the command shows of a RunnerPool."""
