"""Dependencies of every kind: clients, settings, the clock."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.clock import Now
from bessemer.engine.events import EventRecorder
from bessemer.engine.metrics import Metrics
from bessemer.engine.settings import Settings
from bessemer.kube.protocol import Kubernetes


@dataclass(frozen=True)
class Deps:
    """The dependencies that all kinds share; a kind adds its own."""

    kubernetes: Kubernetes
    settings: Settings
    recorder: EventRecorder
    metrics: Metrics
    now: Now
