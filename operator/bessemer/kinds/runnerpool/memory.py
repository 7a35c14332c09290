"""What is remembered of a pool between passes: what would be costly to find out again, and nothing to depend on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from bessemer.kinds.runnerpool.facts import DoubtfulEnd, RunnerPodFact, StallLook
from bessemer.kinds.runnerpool.pods.cache import PodCache
from bessemer.kinds.runnerpool.runner.known import Known
from bessemer.kinds.runnerpool.scaling.quota import Want


@dataclass
class Memory:
    """Of one pool."""

    pods: PodCache = field(default_factory=PodCache)
    """Its pods as they were seen last."""
    vanished: list[RunnerPodFact] = field(default_factory=list)
    """Pods that went without our doing, and that no pass has looked at yet."""
    quiet: datetime | None = None
    """Since when it has had neither waiting jobs nor pods of jobs."""
    taken: datetime | None = None
    """When a pod last ended that had had a job."""
    blocked: dict[int, datetime] = field(default_factory=dict)
    """Slots whose pod's name something else has, and when that was seen."""
    doubtful: list[DoubtfulEnd] = field(default_factory=list)
    """Failures that count only if GitLab says that the pods' jobs still wait."""
    stall: StallLook | None = None
    """What the events of a pod said that does not start."""
    want: Want | None = None
    """Pods that could not be created because of a quota."""
    begun: int = 0
    """How many runners a pass has decided to create that are not there yet: other pools are not to have their room."""
    runner: Known | None = None
    """What registration knows of the runner."""
    pause: datetime | None = None
    """Until when GitLab wants to be left alone by what the pool asks about its runner."""
    left_managers: dict[int, datetime] = field(default_factory=dict)
    """Slots whose managers GitLab was not told to forget yet, as it could not be reached."""
