"""The RunnerPool as users write and read it."""
