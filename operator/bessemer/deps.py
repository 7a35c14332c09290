"""What the reconcile is given: doors, settings, the clock."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.clock import Now
from bessemer.kube.client import Kubernetes
from bessemer.kube.events import EventRecorder
from bessemer.kube.ownkey import OwnKey
from bessemer.metrics import Metrics
from bessemer.settings import Settings
from bessemer.web.progress import ProgressBoard


@dataclass(frozen=True)
class Deps:
    """Everything outside of the process that a pass may touch."""

    kubernetes: Kubernetes
    settings: Settings
    recorder: EventRecorder
    progress: ProgressBoard
    metrics: Metrics
    now: Now
    own_key: OwnKey
