"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

from tests.support.examples import examples

# No deadline: that a machine is slow is no fault of what is tested.
settings.register_profile("bessemer", deadline=None, max_examples=examples(100))
settings.load_profile("bessemer")

pytest_plugins = ["local_kubernetes.fixtures"]
