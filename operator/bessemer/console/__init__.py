"""What commands print, for people and for programs, and the cluster that they read it from."""
