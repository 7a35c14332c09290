"""Fixtures that several kinds of tests share."""

pytest_plugins = ["tests.support.cluster.fixtures"]
