"""The kind BuildTrigger as users write and read it."""
