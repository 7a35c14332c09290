"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("bessemer", deadline=None)  # that a machine is slow is no fault of what is tested
settings.load_profile("bessemer")

pytest_plugins = ["local_kubernetes.fixtures"]
