"""What is remembered of a trigger between passes. Correctness never depends on it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from bessemer.gitlab.limits import Budget
from bessemer.gitlab.protocol import Head
from bessemer.kinds.buildtrigger.access import Access, Reading
from bessemer.kinds.buildtrigger.facts import Answer, HeadFact, HookFact, JobFact, Problem, SourceFact
from bessemer.kinds.buildtrigger.records import Place
from bessemer.kinds.buildtrigger.reported import Known, ReportingFact

REPORT_CALLS, REPORT_CALLS_PER_SECOND = 600, 2.0
"""Calls that tell GitLab something of a trigger, at once and per second: an event has about two dozen."""
HOOK_CALLS, HOOK_CALLS_PER_SECOND = 60, 0.1
"""Calls about the webhook of a trigger: lost events are sent again one by one, of which GitLab takes five a minute."""
JOB_CALLS, JOB_CALLS_PER_SECOND, MOST_JOBS = 60, 2.0, 1024
"""Requests of one job, at once and per second, and jobs that are remembered for that. Each request costs some of the
API server; ours asks every three seconds."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)


PATH_CALLS, PATH_CALLS_PER_SECOND = 20, 1.0
"""Questions of which project a job is that are not known: each job of the GitLab can cause one."""


@dataclass
class Round:
    """One reading of the branches and tags of a group's projects."""

    left: list[str]
    """Projects that are not read yet."""
    refs: dict[Place, Head] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)
    problem: Problem | None = None


@dataclass
class Memory:
    """The in-memory state of a trigger."""

    uid: str = ""
    """UID of the trigger that this is about."""
    generation: int = 0
    """Generation of the spec that the answers were computed with."""
    reading: Reading | None = None
    """The values of the Secrets, as they were last read."""
    early_secret: str | None = field(default=None, repr=False)
    """The webhook's secret, read for a webhook that arrived before the first pass."""
    refreshed: datetime = LONG_AGO
    """When the webhook's secret was last read because a webhook did not fit it."""
    source: SourceFact = field(default_factory=SourceFact)
    failures: int = 0
    """Number of calls of GitLab that have failed in a row."""
    heard_at: datetime | None = None
    """When the last authenticated webhook arrived."""
    hook: HookFact = field(default_factory=HookFact)
    heads: dict[Place, HeadFact] = field(default_factory=dict)
    refs: dict[Place, Head] | None = None
    """Where branches and tags with a rule pointed when all were last read."""
    unread: frozenset[str] = frozenset()
    """Projects of the group, in lower case, that could not be read then."""
    round: Round | None = None
    """How far the projects of a group are read; None: no such reading is under way."""
    paths: dict[int, str] = field(default_factory=dict)
    """Full paths of projects of the group, by their numbers."""
    path_calls: Budget = field(default_factory=lambda: Budget(PATH_CALLS, PATH_CALLS_PER_SECOND))
    jobs: dict[str, JobFact] = field(default_factory=dict)
    """Jobs that wait for a build, by the names of their records."""
    project_id: int | None = None
    """Number of the project in GitLab."""
    answers: dict[str, Answer] = field(default_factory=dict)
    """What waiting events lead to, by the names of their records."""
    reports: dict[str, Known] = field(default_factory=dict)
    """What GitLab is known to have been told of events, by the names of their records."""
    reporting: ReportingFact = field(default_factory=ReportingFact)
    report_failures: int = 0
    """Number of calls that tell GitLab something and have failed in a row."""
    report_calls: Budget = field(default_factory=lambda: Budget(REPORT_CALLS, REPORT_CALLS_PER_SECOND))
    hook_calls: Budget = field(default_factory=lambda: Budget(HOOK_CALLS, HOOK_CALLS_PER_SECOND))
    job_calls: dict[int, Budget] = field(default_factory=dict)
    """Of jobs that have proven who they are, by their numbers, the latest last."""
    reported_with: tuple[str | None, int] = field(default=(None, 0), repr=False)
    """The access token, and the generation of the spec, with which GitLab refused what it refused."""

    @property
    def access(self) -> Access | None:
        """The values of the Secrets, as they were last read."""
        return self.reading.access if self.reading is not None else None
