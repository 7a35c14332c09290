"""In-memory state of a pool between passes: a cache that saves requests; correctness does not depend on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from bessemer.kinds.runnerpool.facts import DoubtfulEnd, RunnerPodFact, StallLook
from bessemer.kinds.runnerpool.pods.cache import PodCache
from bessemer.kinds.runnerpool.runner.known import Known
from bessemer.kinds.runnerpool.scaling.quota import Want


@dataclass
class Memory:
    """State of one pool."""

    pods: PodCache = field(default_factory=PodCache)
    """Its pods as last observed."""
    vanished: list[RunnerPodFact] = field(default_factory=list)
    """Pods that disappeared without our action and that no pass has processed yet."""
    quiet: datetime | None = None
    """Since when it has had neither waiting jobs nor job pods."""
    taken: datetime | None = None
    """When a pod that had a job last ended."""
    blocked: dict[int, datetime] = field(default_factory=dict)
    """Slots whose pod name is taken by another object, and when that was seen."""
    doubtful: list[DoubtfulEnd] = field(default_factory=list)
    """Failures that count only if GitLab reports that the pods' jobs still wait."""
    stall: StallLook | None = None
    """What the events of a pod that does not start said."""
    want: Want | None = None
    """Pods that could not be created because of a quota."""
    begun: int = 0
    """Number of runners that a pass is creating: other pools must not use their room."""
    runner: Known | None = None
    """What is known about the runner."""
    pause: datetime | None = None
    """Until when GitLab has asked for a pause in requests about the pool's runner."""
    left_managers: dict[int, datetime] = field(default_factory=dict)
    """Slots whose runner managers could not be deleted yet, because GitLab was unreachable; with the next try."""
