"""Dependencies of the reconcile: clients, settings, the clock."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.clock import Now
from bessemer.engine.events import EventRecorder
from bessemer.engine.metrics import Metrics
from bessemer.engine.ownkey import OwnKey
from bessemer.engine.settings import Settings
from bessemer.kinds.clusterbuild.progress import ProgressBoard
from bessemer.kube.protocol import Kubernetes


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
