"""Git repositories: bare ones in a folder, what is in them, and pushes and fetches over HTTP."""
