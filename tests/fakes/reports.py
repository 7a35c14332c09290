"""What becomes of commits in a GitLab in memory: statuses with GitLab's own transitions, notes and deployments."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bessemer.errors import BessemerError
from bessemer.gitlab.protocol import GitLabNotFound, GitLabRejected
from bessemer.gitlab.reports import (
    OPEN,
    CommitStatus,
    Deployment,
    MergeRequest,
    NewDeployment,
    NewStatus,
    Note,
    Pipeline,
    State,
    Target,
)

FINAL = ("success", "failed", "canceled")
_STEPS: dict[State, frozenset[State | None]] = {
    State.PENDING: frozenset({None}),
    State.RUNNING: frozenset({None, State.PENDING}),
    State.SUCCESS: frozenset({None, State.PENDING, State.RUNNING}),
    State.FAILED: frozenset({None, State.PENDING, State.RUNNING}),
    State.CANCELED: frozenset({None, State.PENDING, State.RUNNING}),
    State.SKIPPED: frozenset({None, State.PENDING}),
}
"""The states on which each can follow; None: a new status."""


@dataclass
class FakeStatus:
    """A row in GitLab's list of statuses."""

    name: str
    ref: str
    state: State
    pipeline: int
    description: str
    url: str | None
    retried: bool = False


@dataclass
class FakeReports:
    """Commits, merge requests and environments of one project."""

    project: str
    commits: set[str] = field(default_factory=set)
    pipelines: dict[int, Pipeline] = field(default_factory=dict)
    rows: dict[str, list[FakeStatus]] = field(default_factory=dict)
    """Statuses by commit, the earliest first."""
    merge_requests: dict[int, MergeRequest] = field(default_factory=dict)
    results: dict[str, int] = field(default_factory=dict)
    """Merge requests by the commits of their merges."""
    notes: dict[int, dict[int, Note]] = field(default_factory=dict)
    """Notes of merge requests by their numbers."""
    strangers: list[str] = field(default_factory=list)
    """Texts of notes by other users, on all merge requests."""
    deployments: dict[int, tuple[NewDeployment, str]] = field(default_factory=dict)
    """With the state that each is in."""
    error: BessemerError | None = None
    """What every call fails with."""
    errors: dict[str, BessemerError] = field(default_factory=dict)
    """What calls of these names fail with."""
    calls: list[str] = field(default_factory=list)
    closed: bool = False
    _last: int = 100

    async def list_statuses(self, target: Target, prefix: str) -> list[CommitStatus]:
        """List the current statuses."""
        self._call("list_statuses", target.project, target.commit)
        rows = [row for row in self.rows.get(target.commit, []) if row.ref == target.ref and not row.retried]
        return [CommitStatus(row.name, row.state, row.pipeline) for row in rows if row.name.startswith(prefix)]

    async def set_status(self, target: Target, status: NewStatus) -> CommitStatus:
        """Report a status."""
        self._call(f"set_status {status.name} {status.state}", target.project, target.commit)
        pipeline = self._find_pipeline(target)
        rows = self.rows.setdefault(target.commit, [])
        same = [row for row in rows if (row.name, row.ref, row.pipeline) == (status.name, target.ref, pipeline)]
        current = next((row for row in same if row.state in OPEN), None)
        if (current.state if current else None) not in _STEPS[status.state]:
            assert current is not None
            return CommitStatus(status.name, current.state, target.pipeline)
        if current is None:
            for row in same:
                row.retried = True
            rows.append(FakeStatus(status.name, target.ref, status.state, pipeline, status.description, status.url))
        else:
            current.state, current.description = status.state, status.description or current.description
            current.url = status.url or current.url
        return CommitStatus(status.name, status.state, pipeline)

    async def list_merge_requests(self, project: str, commit: str) -> list[MergeRequest]:
        """List the merge requests whose head or result a commit is."""
        self._call("list_merge_requests", project, commit)
        merged = self.results.get(commit)
        found = (one for one in self.merge_requests.values() if commit == one.commit or one.iid == merged)
        return [replace(one, pipeline=None) for one in found]

    async def get_merge_request(self, project: str, iid: int) -> MergeRequest:
        """Return a merge request."""
        self._call("get_merge_request", project)
        return self._open(iid)

    async def find_note(self, project: str, iid: int, marker: str) -> Note | None:
        """Return the first own note that begins with the marker."""
        self._call("find_note", project)
        self._open(iid)
        return next((note for note in self.notes.get(iid, {}).values() if note.body.startswith(marker)), None)

    async def create_note(self, project: str, iid: int, body: str, *, discussion: bool) -> Note:
        """Write a note."""
        self._call("create_note", project)
        self._open(iid)
        number = self._count()
        note = Note(number, body, f"d{number}" if discussion else None)
        self.notes.setdefault(iid, {})[number] = note
        return note

    async def update_note(self, project: str, iid: int, note: int, body: str) -> None:
        """Replace the text of a note."""
        self._call("update_note", project)
        if note not in self.notes.get(iid, {}):
            raise GitLabNotFound("404 Not found")
        self.notes[iid][note] = replace(self.notes[iid][note], body=body)

    async def resolve_discussion(self, project: str, iid: int, discussion: str, *, resolved: bool) -> None:
        """Resolve a discussion, or open it again."""
        self._call("resolve_discussion", project)
        found = next((note for note in self.notes.get(iid, {}).values() if note.discussion == discussion), None)
        if found is None:
            raise GitLabNotFound("404 Not found")
        self.notes[iid][found.id] = replace(found, resolved=resolved)

    async def find_deployment(self, project: str, environment: str, commit: str) -> Deployment | None:
        """Return the latest deployment of a commit to an environment."""
        self._call("find_deployment", project)
        found = [
            Deployment(number, state)
            for number, (one, state) in self.deployments.items()
            if (one.environment, one.commit) == (environment, commit)
        ]
        return found[-1] if found else None

    async def create_deployment(self, project: str, deployment: NewDeployment) -> Deployment:
        """Create a deployment."""
        self._call("create_deployment", project, deployment.commit)
        number = self._count()
        self.deployments[number] = (deployment, deployment.state)
        return Deployment(number, deployment.state)

    async def update_deployment(self, project: str, number: int, state: str) -> None:
        """Change the state of a deployment."""
        self._call(f"update_deployment {state}", project)
        deployment, before = self.deployments[number]
        if before in FINAL or before == state:
            raise GitLabRejected(f"400 Cannot transition status from :{before}")
        self.deployments[number] = (deployment, state)

    async def close(self) -> None:
        """Close it."""
        self.closed = True

    def states(self, commit: str) -> dict[str, str]:
        """Return the states of the current statuses of a commit; there must be one of each name."""
        rows = [row for row in self.rows.get(commit, []) if not row.retried]
        assert len({row.name for row in rows}) == len(rows), f"two statuses of one name: {rows}"
        return {row.name: row.state.value for row in rows}

    def _find_pipeline(self, target: Target) -> int:
        found = [one for one in self.pipelines.values() if (one.commit, one.ref) == (target.commit, target.ref)]
        if target.pipeline is not None and target.pipeline not in [one.id for one in found]:
            raise GitLabNotFound("404 Pipeline for pipeline_id, sha and ref Not Found")
        if target.pipeline is not None or found:
            return target.pipeline or found[-1].id
        number = self._count()
        self.pipelines[number] = Pipeline(number, target.commit, target.ref)
        return number

    def _open(self, iid: int) -> MergeRequest:
        if iid not in self.merge_requests:
            raise GitLabNotFound("404 Not found")
        return self.merge_requests[iid]

    def _count(self) -> int:
        self._last += 1
        return self._last

    def _call(self, call: str, project: str, commit: str | None = None) -> None:
        self.calls.append(call)
        error = self.error or self.errors.get(call.split(maxsplit=1)[0])
        if error is not None:
            raise error
        if project != self.project:
            raise GitLabNotFound("404 Project Not Found")
        if commit is not None and commit not in self.commits:
            raise GitLabNotFound("404 Commit Not Found")
