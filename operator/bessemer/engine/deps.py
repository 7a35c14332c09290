"""What every kind is given: clients, settings, the clock."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.clock import Now
from bessemer.engine.events import EventRecorder
from bessemer.engine.metrics import Metrics
from bessemer.engine.settings import Settings
from bessemer.kube.protocol import Kubernetes


@dataclass(frozen=True)
class Deps:
    """What is outside of the engine, and the same for all kinds; a kind adds what it needs beyond."""

    kubernetes: Kubernetes
    settings: Settings
    recorder: EventRecorder
    metrics: Metrics
    now: Now
