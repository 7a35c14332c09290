"""The metrics that the operator exports."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from bessemer.process import build_controllers
from tests.fakes.deps import build_deps
from tests.fakes.watcher import FakeWatcher


def build_registry() -> CollectorRegistry:
    """Return a registry with the metrics of the engine and of all kinds."""
    deps = build_deps()
    build_controllers(deps, FakeWatcher())
    return deps.metrics.registry
