"""The installer: an initial RAM disk that installs a machine as its boot server says."""
