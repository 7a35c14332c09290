"""The command ``bessemer``, also as ``kubectl bessemer``."""
