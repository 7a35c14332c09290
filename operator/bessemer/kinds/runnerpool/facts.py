"""Input of a decision: all facts about a pool in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import Mode
from bessemer.engine.refusals import Refusal
from bessemer.gitlab.protocol import PendingJob
from bessemer.kube.podwarnings import PodWarning

ANY_JOB = "any"
"""The assignment of a pod if the waiting jobs are not known."""
END_UNREADABLE = "EndUnreadable"
"""Reason of an ended pod whose termination message was not written by its entry point."""
NO_SLOT = -1
"""The slot of a pod without a valid slot; such a pod does not belong to the pool, regardless of its other labels."""

CLAIM_WINDOW = timedelta(seconds=10)
"""Time from the start of a pod that was sent for a job (or from its sending, if it waited) until GitLab must have
answered it: the runner sends its first request within a second, and GitLab answers a first request at once."""


BLOCKED = timedelta(minutes=5)
"""Seconds for which a slot is not used if its pod name is taken by another object."""
LOST_AFTER = timedelta(minutes=2)
"""A pod is killed within seconds after its grace period; one that is not has lost its kubelet."""


RETRY_SECONDS = 5
"""Interval of retries after a refusal, or if something could not be found or created."""


class RunnerPodState(StrEnum):
    """Classes of runner pods.

    Lost: it should have ended by now, but its node has not confirmed that. Collected: it has ended and been processed,
    but its slot is not free yet.
    """

    STARTING = "Starting"
    IDLE = "Idle"
    RUNNING = "Running"
    DRAINING = "Draining"
    FINISHED = "Finished"
    FAILED = "Failed"
    LOST = "Lost"
    COLLECTED = "Collected"


@dataclass(frozen=True)
class RunnerPodFact:
    """A runner pod as last observed."""

    name: str
    uid: str
    owner_uid: str
    slot: int
    """Counted from 0, or NO_SLOT."""
    state: RunnerPodState
    created: datetime
    version: int = 0
    """The resourceVersion: of two observations of one pod, the one with the greater version is the later."""
    job: str | None = None
    """Assignment: the number of a job, or any; None while the pod waits."""
    sent: datetime | None = None
    """When it was sent."""
    template: str = ""
    started: datetime | None = None
    """When its container started."""
    finished: datetime | None = None
    node: str = ""
    deadline: datetime | None = None
    """When it must have ended, if it is being deleted."""
    grace: timedelta | None = None
    """How long a job may run after the pod was told to end; None if unknown: long enough."""
    stopped: bool = False
    """The kubelet has reported that each of its containers has ended."""
    claimed: tuple[int, ...] = ()
    """Jobs that it took, from its termination message."""
    said: str = ""
    """Why it got no job, in the words of GitLab's runner; empty if the runner gave no reason."""
    silent: bool = False
    """It has ended without a termination message: it was killed, together with its job if it had one."""
    recalled: bool = False
    """It was deleted before it started, so a failure says nothing about the pool."""
    reason: str = ""
    """Why it waits or failed."""
    message: str = ""
    """The reason as a sentence."""

    def belongs_to(self, pool_uid: str) -> bool:
        """Return whether it was created for that pool."""
        return self.owner_uid == pool_uid and self.slot != NO_SLOT

    @property
    def may_have_had_job(self) -> bool:
        """Whether it took a job, or was killed when it must have had one."""
        killed_late = (
            self.silent
            and self.started is not None
            and self.finished is not None
            and self.finished - self.started > CLAIM_WINDOW
        )
        return bool(self.claimed) or killed_late

    @property
    def failed_without_job(self) -> bool:
        """Whether it failed before it took a job, according to itself: see :attr:`doubtful`."""
        return self.state is RunnerPodState.FAILED and not self.may_have_had_job and not self.recalled

    @property
    def doubtful(self) -> bool:
        """Whether a job may have forged the way in which it ended.

        True if its container has run for a job that GitLab knows by its number: a job runs as the same user as the
        entry point.
        """
        return self.job not in (None, ANY_JOB) and self.started is not None

    @property
    def live(self) -> bool:
        """Whether any of its containers runs or will run, as far as is known."""
        return not self.ended and self.state not in (RunnerPodState.COLLECTED, RunnerPodState.LOST)

    @property
    def lost_from(self) -> datetime | None:
        """Time from which it counts as lost if it still exists; None if it was not told to end."""
        return self.deadline + LOST_AFTER if self.state is RunnerPodState.DRAINING and self.deadline else None

    @property
    def ended(self) -> bool:
        """Whether it has ended and was not collected yet."""
        return self.state in (RunnerPodState.FINISHED, RunnerPodState.FAILED)


@dataclass(frozen=True)
class JobPodFact:
    """A pod that a runner of the executor Kubernetes has created for its job."""

    name: str
    uid: str
    runner_uid: str
    """UID of the runner pod."""
    leaving: bool
    """Its containers have ended or are about to."""
    deleted: bool
    """It has already been deleted."""


@dataclass(frozen=True)
class Tried:
    """The pods that were sent for a job, asked GitLab, and ended without any job."""

    times: int
    first: datetime
    last: datetime
    said: str = ""
    """Why the last of them got no job, in the words of GitLab's runner; empty if GitLab said that there is none."""


@dataclass(frozen=True)
class WaitingJob:
    """A job in GitLab that waits for a runner with this pool's properties."""

    job: PendingJob
    seen: datetime
    """When GitLab last confirmed that it waits."""
    not_before: datetime | None = None
    """Until when no other pod is sent for it, because GitLab did not give it to the pods sent before."""
    tried: Tried | None = None


@dataclass(frozen=True)
class Demand:
    """The jobs that wait."""

    known: bool
    """Whether they can be known, and have been read recently."""
    reason: str
    """Why they are known or not, as one CamelCase word."""
    message: str = ""
    """The reason as a sentence."""
    jobs: tuple[WaitingJob, ...] = ()
    """In the order in which GitLab assigns them: oldest first."""
    swapped: frozenset[int] = frozenset()
    """Jobs taken by a pod that was sent for another job: their own pods will take other jobs instead."""
    closed: frozenset[int] | None = None
    """If more jobs wait than were listed: those known to wait no longer. None: all that are not in ``jobs``."""
    blind: bool = False
    """The operator has no access token to list waiting jobs: runners poll by themselves."""


@dataclass(frozen=True)
class RunnerFact:
    """The runner in GitLab, and the Secret with its configuration."""

    ready: bool
    reason: str
    message: str = ""
    id: int | None = None
    expires_at: datetime | None = None
    template: str = ""
    """Digest of the pod template and the version of the configuration; pods with another are outdated."""


@dataclass(frozen=True)
class Headroom:
    """Room for further pods in the namespace's ResourceQuotas."""

    pods: int
    message: str


@dataclass(frozen=True)
class DoubtfulEnd:
    """A pod that was collected as failed, until GitLab reports whether the job that it was sent for still waits."""

    pod: RunnerPodFact
    when: datetime
    """When it was collected, by the operator's clock."""


@dataclass(frozen=True)
class StallLook:
    """Result of reading the events of a pod that does not start."""

    uid: str
    """UID of the pod."""
    when: datetime
    warning: PodWarning | None


@dataclass(frozen=True)
class Departure:
    """Progress of deleting the runner of a deleted pool in GitLab."""

    done: bool
    """Whether it is deleted, or its deadline has passed."""
    wait: float = 0.0
    """Seconds until the next try."""


@dataclass(frozen=True)
class Facts:
    """All facts about a pool in one pass."""

    pool: RunnerPool
    demand: Demand
    runner: RunnerFact
    pods: Mapping[str, RunnerPodFact]
    """Pods of this pool by name."""
    headroom: Headroom | None = None
    """None: no relevant quota, or not read because no pod is wanted."""
    measured: bool = False
    """Whether this pass has read the headroom."""
    refusal: Refusal | None = None
    vanished: tuple[RunnerPodFact, ...] = ()
    """Pods that disappeared without our action and have not been cleaned up in GitLab."""
    departure: Departure | None = None
    """For a deleted pool without pods; None: this pass has not contacted GitLab about it."""
    job_pods: tuple[JobPodFact, ...] = ()
    """Pods of running jobs of the executor Kubernetes."""
    blocked: frozenset[int] = frozenset()
    """Slots whose pods can't be created, because other objects have their names."""
    last_taken: datetime | None = None
    """When a pod of this pool that had a job last ended; None: not since the operator started."""
    doubtful: tuple[DoubtfulEnd, ...] = ()
    """Failures on which GitLab has not been asked yet."""
    quiet_since: datetime | None = None
    """Since when there has been neither a waiting job nor a running job pod; None: there is one."""
    stall: StallLook | None = None
    """What the events of a pod that does not start say; None: all pods start, or their status says why not."""

    @property
    def is_of_pods(self) -> bool:
        """Whether each of its pods takes one job; otherwise a manager takes them all."""
        return self.pool.spec is None or self.pool.spec.mode is Mode.PODS

    def list_live(self) -> list[RunnerPodFact]:
        """Return the pods that have not ended."""
        return [pod for pod in self.pods.values() if pod.live]

    def list_in(self, state: RunnerPodState) -> list[RunnerPodFact]:
        """Return the pods in a state, oldest first."""
        return sorted(
            (pod for pod in self.pods.values() if pod.state == state), key=lambda pod: (pod.created, pod.slot)
        )
