"""What a decision is made from: everything that is known of a pool in one pass."""

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
"""The reason of a pod that has ended with a last word which is not of its entry point's making."""
NO_SLOT = -1
"""The slot of a pod without a valid slot; such a pod does not belong to the pool, regardless of its other labels."""

CLAIM_WINDOW = timedelta(seconds=10)
"""From the start of a pod that was sent for a job, or its sending where it waited, until GitLab has certainly answered
it: the runner asks within a second of its start, and is answered at once, as it asks for the first time."""


BLOCKED = timedelta(minutes=5)
"""Seconds for which a slot is not used if its pod name is taken by another object."""
LOST_AFTER = timedelta(minutes=2)
"""After the end of its grace a pod is killed within seconds; one that is not has no kubelet any more."""


RETRY_SECONDS = 5
"""How often it is tried again what was refused, or could not be found or created."""


class RunnerPodState(StrEnum):
    """The buckets that runner pods fall into. A lost one was to have ended by now, and its node does not say so; a
    collected one has ended, and is only still to vanish from its slot."""

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
    """A runner pod as it was seen last."""

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
    """What it was sent for: the number of a job, or any; None while it waits."""
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
    """How long a job may take when the pod is told to go; None where that is not known: long enough."""
    stopped: bool = False
    """The kubelet has said of each of its containers that it has ended."""
    claimed: tuple[int, ...] = ()
    """The jobs that it took, as it said at its end."""
    said: str = ""
    """Why it got no job, in the words of GitLab's runner; empty where that had none."""
    silent: bool = False
    """It has ended without having said anything: it was killed, with the job that it may have had."""
    recalled: bool = False
    """It was deleted before it had started: that it did not end well says nothing of it."""
    reason: str = ""
    """Why it waits or failed."""
    message: str = ""
    """The same in a sentence."""

    def belongs_to(self, pool_uid: str) -> bool:
        """Whether it was made for that pool."""
        return self.owner_uid == pool_uid and self.slot != NO_SLOT

    @property
    def may_have_had_job(self) -> bool:
        """Whether it took a job, or was killed after it must have had one."""
        killed_late = (
            self.silent
            and self.started is not None
            and self.finished is not None
            and self.finished - self.started > CLAIM_WINDOW
        )
        return bool(self.claimed) or killed_late

    @property
    def failed_without_job(self) -> bool:
        """Whether it has failed before it took a job, as far as it says itself: see :attr:`doubtful`."""
        return self.state is RunnerPodState.FAILED and not self.may_have_had_job and not self.recalled

    @property
    def doubtful(self) -> bool:
        """Whether a job may have written how it ended, and have made it end so: its container has run for a job that
        GitLab knows by its number, and a job is the same user there as the entry point.
        """
        return self.job not in (None, ANY_JOB) and self.started is not None

    @property
    def live(self) -> bool:
        """Whether anything of it runs or will, as far as is known."""
        return not self.ended and self.state not in (RunnerPodState.COLLECTED, RunnerPodState.LOST)

    @property
    def lost_from(self) -> datetime | None:
        """When it is taken for lost, if it is not gone by then; None for one that was not told to go."""
        return self.deadline + LOST_AFTER if self.state is RunnerPodState.DRAINING and self.deadline else None

    @property
    def ended(self) -> bool:
        """Whether it has ended, and was not collected yet."""
        return self.state in (RunnerPodState.FINISHED, RunnerPodState.FAILED)


@dataclass(frozen=True)
class JobPodFact:
    """A pod that a runner of the executor Kubernetes has made for its job."""

    name: str
    uid: str
    runner_uid: str
    """UID of the runner pod."""
    leaving: bool
    """Its containers have ended, or are about to."""
    deleted: bool
    """A user has deleted it already."""


@dataclass(frozen=True)
class Tried:
    """The pods that were sent for a job, asked GitLab and ended without any."""

    times: int
    first: datetime
    last: datetime
    said: str = ""
    """Why the last of them got none, in the words of GitLab's runner; empty where GitLab said that there is none."""


@dataclass(frozen=True)
class WaitingJob:
    """A job that waits in GitLab for a runner such as this pool's."""

    job: PendingJob
    seen: datetime
    """When GitLab was last known to say so."""
    not_before: datetime | None = None
    """Until when no other pod is sent for it, as GitLab did not give it to those that were."""
    tried: Tried | None = None


@dataclass(frozen=True)
class Demand:
    """The jobs that wait."""

    known: bool
    """Whether they can be known at all, and were lately."""
    reason: str
    """Why they are known or not, as one CamelCase word."""
    message: str = ""
    """The same in a sentence."""
    jobs: tuple[WaitingJob, ...] = ()
    """In the order in which GitLab gives them out: the oldest first."""
    swapped: frozenset[int] = frozenset()
    """Jobs that a pod sent for another has taken: what was sent for them will take another in turn."""
    closed: frozenset[int] | None = None
    """Where more jobs wait than were listed: those known to wait no more. None: whatever is not among the jobs."""
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
    """For how many more pods the namespace's ResourceQuotas have room."""

    pods: int
    message: str


@dataclass(frozen=True)
class DoubtfulEnd:
    """A pod that was collected as failed, until GitLab says whether the job that it was sent for still waits."""

    pod: RunnerPodFact
    when: datetime
    """When it was collected, by the operator's clock."""


@dataclass(frozen=True)
class StallLook:
    """What was found in the events of a pod that does not start."""

    uid: str
    """UID of the pod."""
    when: datetime
    warning: PodWarning | None


@dataclass(frozen=True)
class Departure:
    """How far GitLab has deleted the runner of a pool that is deleted."""

    done: bool
    """Whether it has, or was given the time to."""
    wait: float = 0.0
    """Seconds until it is told again."""


@dataclass(frozen=True)
class Facts:
    """All that is known of a pool in one pass."""

    pool: RunnerPool
    demand: Demand
    runner: RunnerFact
    pods: Mapping[str, RunnerPodFact]
    """Pods of this pool by their names."""
    headroom: Headroom | None = None
    """None: no quota that counts, or not looked at as no pod is wanted."""
    measured: bool = False
    """Whether the headroom was looked at in this pass."""
    refusal: Refusal | None = None
    vanished: tuple[RunnerPodFact, ...] = ()
    """Pods that went without our doing, and have not been settled with GitLab."""
    departure: Departure | None = None
    """Of a pool that is deleted and has no pods left; None: GitLab was not told in this pass."""
    job_pods: tuple[JobPodFact, ...] = ()
    """Pods of jobs that run by the executor Kubernetes."""
    blocked: frozenset[int] = frozenset()
    """Slots whose pods can't be created, because their names are taken by other objects."""
    last_taken: datetime | None = None
    """When a pod of this pool last ended that had had a job; None: not since the operator's start."""
    doubtful: tuple[DoubtfulEnd, ...] = ()
    """Failures that GitLab's word is waited for."""
    quiet_since: datetime | None = None
    """Since when there has been neither a waiting job nor one that runs in a job pod; None: there is one."""

    @property
    def is_of_pods(self) -> bool:
        """Whether each of its pods takes one job, and no manager takes them all."""
        return self.pool.spec is None or self.pool.spec.mode is Mode.PODS

    def list_live(self) -> list[RunnerPodFact]:
        """List the pods that have not ended."""
        return [pod for pod in self.pods.values() if pod.live]

    def list_in(self, state: RunnerPodState) -> list[RunnerPodFact]:
        """List the pods in a state, the oldest first."""
        return sorted(
            (pod for pod in self.pods.values() if pod.state == state), key=lambda pod: (pod.created, pod.slot)
        )
