"""A GitLab in memory behind the same client as the real one: for speed, and for what can't be had from a real one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime

from bessemer.errors import BessemerError
from bessemer.gitlab.protocol import (
    GitLabNotFound,
    GitLabRefused,
    Identity,
    PendingJob,
    PendingJobs,
    ProjectRef,
    Registration,
    RunnerRequest,
    Scope,
)


@dataclass
class FakeRunner:
    """A runner, with its managers."""

    id: int
    request: RunnerRequest
    token: str = field(repr=False)
    managers: set[str] = field(default_factory=set)


@dataclass
class FakeGitLab:
    """Jobs that wait, and runners by their numbers."""

    jobs: list[PendingJob] = field(default_factory=list)
    runners: dict[int, FakeRunner] = field(default_factory=dict)
    expires_at: datetime | None = None
    """When the tokens that are given out from now on expire."""
    access_ends: datetime | None = None
    """When the access token ends; None: never."""
    longest_list: int | None = None
    """How many jobs are listed at most, the newest; None: all."""
    error: BessemerError | None = None
    """What every call fails with."""
    calls: list[str] = field(default_factory=list)
    closed: bool = False
    _tokens: int = 0

    async def list_pending_jobs(
        self, scope: Scope, *, with_protected: bool = False, hints: Collection[ProjectRef] = ()
    ) -> PendingJobs:
        """List jobs that wait: the newest, and all of the hinted projects."""
        self._call("list_pending_jobs")
        found = [job for job in self.jobs if scope.has_project(job.project)]
        if not with_protected:
            found = [replace(job, protected=None) for job in found]
        newest = sorted(found, key=lambda job: -job.id)[: self.longest_list]
        listed = [job for job in found if job in newest or any(hint.is_same(job.project_ref) for hint in hints)]
        complete = len(listed) == len(found)
        whole = frozenset(hint.path.lower() for hint in hints)
        note = "" if complete else f"{len(listed)} jobs are listed at once"
        return PendingJobs(tuple(listed), complete, note, whole)

    async def create_runner(self, request: RunnerRequest) -> Registration:
        """Create a runner."""
        self._call("create_runner")
        runner = FakeRunner(max(self.runners, default=0) + 1, request, self._make_token())
        self.runners[runner.id] = runner
        return Registration(runner.id, runner.token, self.expires_at)

    async def list_runners(self, scope: Scope, marker: str) -> list[int]:
        """List the runners of a scope that bear the marker."""
        self._call("list_runners")
        return [
            runner.id
            for runner in self.runners.values()
            if runner.request.marker == marker and runner.request.scope == scope
        ]

    async def update_runner(self, runner_id: int, request: RunnerRequest) -> None:
        """Make a runner as requested."""
        self._call("update_runner")
        runner = self._get(runner_id)
        runner.request = replace(request, scope=runner.request.scope)

    async def rotate_runner(self, runner_id: int) -> Registration:
        """Replace a runner's token."""
        self._call("rotate_runner")
        runner = self._get(runner_id)
        runner.token = self._make_token()
        return Registration(runner.id, runner.token, self.expires_at)

    async def delete_runner(self, runner_id: int) -> None:
        """Delete a runner and its managers."""
        self._call("delete_runner")
        self.runners.pop(runner_id, None)

    async def verify_runner(self, runner_token: str) -> Identity | None:
        """Ask whose runner token that is."""
        self._call("verify_runner")
        return next(
            (Identity(one.id, self.expires_at) for one in self.runners.values() if one.token == runner_token), None
        )

    async def delete_manager(self, runner_token: str, system_id: str) -> None:
        """Delete a manager."""
        self._call("delete_manager")
        runner = next((one for one in self.runners.values() if one.token == runner_token), None)
        if runner is None:
            raise GitLabRefused("403 Forbidden")
        runner.managers.discard(system_id)

    async def get_expiry(self) -> datetime | None:
        """Return when the access token ends."""
        self._call("get_expiry")
        return self.access_ends

    async def close(self) -> None:
        """Close it."""
        self.closed = True

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.error is not None:
            raise self.error

    def _get(self, runner_id: int) -> FakeRunner:
        runner = self.runners.get(runner_id)
        if runner is None:
            raise GitLabNotFound("404 Not found")
        return runner

    def _make_token(self) -> str:
        self._tokens += 1
        return f"glrt-fake-{self._tokens}"
