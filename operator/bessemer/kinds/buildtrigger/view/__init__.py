"""How the command shows triggers."""
