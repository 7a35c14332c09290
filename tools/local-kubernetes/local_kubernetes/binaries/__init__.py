"""The programs a cluster is made of: found on the PATH, or built from Go modules and cached."""
