"""Manifests as users write them: YAML, read as kubectl reads it."""
