"""The dependencies of kinds with a Kubernetes in memory."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from bessemer.clock import Now, get_now
from bessemer.engine.deps import Deps
from bessemer.engine.events import EventRecorder
from bessemer.engine.metrics import Metrics
from bessemer.engine.settings import Settings
from tests.fakes.kubernetes import FakeKubernetes


def build_deps(kubernetes: FakeKubernetes | None = None, now: Now = get_now) -> Deps:
    """Return dependencies with usual settings."""
    kubernetes = kubernetes or FakeKubernetes(now)
    return Deps(
        kubernetes=kubernetes,
        settings=Settings(image="operator", namespace="bessemer", identity="me", deletion_seconds=900),
        recorder=EventRecorder(kubernetes, "me", now),
        metrics=Metrics(CollectorRegistry()),
        now=now,
    )
