"""Everything that the simulated GitLab holds, in memory, and how things in it are found.

No I/O: the HTTP layer listens to `GitLabState.listeners` for what changed. Nothing here is safe for threads; all of it
runs in one event loop and no call awaits, so each call is a transaction.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import model
from .clock import Clock
from .matching import compute_is_below
from .model import Group, Job, MergeRequest, Project, Runner, User
from .signing import SigningKeys


@dataclass(frozen=True)
class Changed:
    """Something happened: ``kind`` is job, pipeline, push, merge_request, note, deployment or queue.

    ``id`` is that of what changed; of a runner for the queue, of the project for a push.
    """

    kind: str
    id: int
    detail: Any = None
    """A `pushes.Push`, `merge_requests.MergeRequestChange` or `discussions.NoteChange`, or a deployment."""


class NotThereError(Exception):
    """What was asked for does not exist; the text is what GitLab calls it, such as ``Project``."""


@dataclass
class Settings:
    """Settings that an administrator, or a test, may change while the simulator runs."""

    long_poll_seconds: float = 50
    """0: Workhorse holds no request."""
    trace_update_interval: int = 3
    """Seconds between log updates: GitLab says 3 while a user watches a job, otherwise 60."""
    claim_on_dropped_connection: bool = True
    """Whether a job is given to a client that has disconnected, as Rails may do; False: the connection is checked
    first."""
    trace_pending_updates: int = 0
    """How many of the next final updates with a checksum are answered with 202, as while the log is being stored."""
    job_events_for_pending: bool = True
    """Whether job webhooks tell of pending; old GitLabs didn't."""
    job_event_tags: bool = False
    """Whether job webhooks carry the job's own tags; documented ones show a runner's tags only, once it has one."""
    runner_token_expiration_interval: float | None = None
    """Seconds that the tokens of instance runners are valid from when they are made or replaced; None: for ever."""
    group_runner_token_expiration_interval: float | None = None
    project_runner_token_expiration_interval: float | None = None
    status_update_seconds: float = 0
    """How long the update of a commit status takes; others of the same commit wait for it."""
    ci_pipeline_size: int = 0
    """Jobs and commit statuses that a pipeline may have; 0: any number."""
    diff_max_files: int = 1000
    """Files of a merge request whose changes are shown."""
    push_event_hooks_limit: int = 3
    """A push that creates, moves or deletes more branches, or tags, tells webhooks of none of these."""
    notes_per_minute: int = 300
    """For each user."""
    auto_disable_hooks: bool = True
    """Whether webhooks that fail are disabled: at GitLab.com, and elsewhere where auto_disabling_web_hooks is on."""
    resends_per_minute: int = 5
    """For each webhook and user."""
    runner_requests_per_minute: int = 2000
    job_requests_per_minute: int = 200
    graphql_complexity: int = 250
    webhook_timeout_seconds: float = 10


class GitLabState:
    """The data and its look-ups. `jobs.py`, `queue.py`, `runners.py` contain the operations on it."""

    def __init__(self, clock: Clock, external_url: str = "http://127.0.0.1") -> None:
        self.clock = clock
        self.external_url = external_url.rstrip("/")
        self.settings = Settings()
        self.users: dict[int, User] = {}
        self.tokens: dict[int, model.AccessToken] = {}
        self.groups: dict[int, Group] = {}
        self.projects: dict[int, Project] = {}
        self.runners: dict[int, Runner] = {}
        self.pipelines: dict[int, model.Pipeline] = {}
        self.jobs: dict[int, Job] = {}
        self.statuses: dict[int, model.ExternalStatus] = {}
        self.hooks: dict[int, model.Hook] = {}
        self.deliveries: dict[int, model.Delivery] = {}
        self.stamps: dict[str, tuple[str, float]] = {}
        """Queue stamp and when it was set, by runner token."""
        self.listeners: list[Callable[[Changed], None]] = []
        self.keys = SigningKeys()
        self._labels: dict[str, int] = {}
        self._ids: Counter[str] = Counter({"job": 1000, "pipeline": 100})
        self.add_user("root", admin=True)

    def next_id(self, kind: str) -> int:
        self._ids[kind] += 1
        return self._ids[kind]

    def get_label_id(self, name: str) -> int:
        """Return a label's number; one that is new gets the next."""
        return self._labels.setdefault(name, len(self._labels) + 1)

    def tell(self, kind: str, subject: int, detail: object = None) -> None:
        for listener in self.listeners:
            listener(Changed(kind, subject, detail))

    def add_user(self, username: str, *, admin: bool = False, access: dict[str, int] | None = None) -> User:
        """Create a user, or change the one of that name."""
        user = next((user for user in self.users.values() if user.username == username), None)
        if user is None:
            user = User(self.next_id("user"), username)
            self.users[user.id] = user
        user.admin, user.access = admin, dict(access or {})
        return user

    def add_group(self, path: str) -> Group:
        """Create a group and those above it; one that is there is kept."""
        for end in [index for index, char in enumerate(path) if char == "/"] + [len(path)]:
            if (group := self.find_group(path[:end])) is None:
                group = Group(self.next_id("namespace"), path[:end])
                self.groups[group.id] = group
        assert group is not None
        return group

    def find_group(self, reference: str | int) -> Group | None:
        """Find by ID (also as text) or full path, whose case does not matter."""
        text = str(reference).lower()
        return next((g for g in self.groups.values() if g.full_path.lower() == text or str(g.id) == text), None)

    def find_project(self, reference: str | int) -> Project | None:
        """Find by ID (also as text) or full path, whose case does not matter."""
        text = str(reference).lower()
        if text.isdigit():
            return self.projects.get(int(text))
        return next((project for project in self.projects.values() if project.full_path.lower() == text), None)

    def get_project(self, reference: str | int) -> Project:
        """Raises NotThereError: there is no such project."""
        if (project := self.find_project(reference)) is None:
            raise NotThereError("Project")
        return project

    def find_user(self, username: str) -> User | None:
        return next((user for user in self.users.values() if user.username == username), None)

    def get_user(self, username: str) -> User:
        """Raises NotThereError: there is no such user."""
        if (user := self.find_user(username)) is None:
            raise NotThereError("User")
        return user

    def find_token(self, value: str) -> model.AccessToken | None:
        return next((token for token in self.tokens.values() if secrets.compare_digest(token.value, value)), None)

    def find_merge_request(self, number: int | None) -> MergeRequest | None:
        """Find by id, among all projects."""
        found = (one for project in self.projects.values() for one in project.merge_requests.values())
        return next((one for one in found if one.id == number), None)

    def get_job_user_id(self, job: Job) -> int | None:
        """Return who started a job: its pipeline, or the job itself by hand. The job has that user's rights."""
        return job.user_id or self.pipelines[job.pipeline_id].user_id

    def find_running_job(self, token: str) -> Job | None:
        """Find the job of a token, which is valid while the job runs."""
        job = next((one for one in self.jobs.values() if secrets.compare_digest(one.token, token)), None)
        return job if job and job.status in model.AT_RUNNER else None

    def find_runner_by_token(self, value: str) -> Runner | None:
        return next((runner for runner in self.runners.values() if runner.token == value), None)

    def list_project_jobs(self, project: Project) -> list[Job]:
        """Return the jobs of a project, newest first as in GitLab, without retried ones."""
        return [job for job in reversed(self.jobs.values()) if job.project_id == project.id]

    def list_group_projects(self, group: Group) -> list[Project]:
        return [p for p in self.projects.values() if compute_is_below(p.full_path, group.full_path)]

    def compute_access(self, user: User | None, path: str) -> int:
        """Return the highest access level of a user at a path or any path above it; 0: none."""
        if user is None:
            return 0
        if user.admin:
            return model.OWNER
        return max(
            (level for at, level in user.access.items() if at == path or compute_is_below(path, at)),
            default=0,
        )


def compute_sha(*parts: str) -> str:
    """Return a made-up commit SHA that depends only on its content."""
    return hashlib.sha1("\0".join(parts).encode(), usedforsecurity=False).hexdigest()


def compute_token(prefix: str) -> str:
    """Return a made-up secret in GitLab's format: prefix and 20 characters."""
    return prefix + secrets.token_urlsafe(15)
