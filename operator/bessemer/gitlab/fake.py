"""A GitLab in memory behind the same door as the real one: for speed, and for what can't be had from a real one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from bessemer.errors import BessemerError
from bessemer.gitlab.protocol import (
    GitLabNotFound,
    GitLabRefused,
    Identity,
    PendingJob,
    PendingJobs,
    Registration,
    RunnerRequest,
    Scope,
    ScopeType,
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
    longest_list: int | None = None
    """How many jobs are listed at most, the newest; None: all."""
    error: BessemerError | None = None
    """What every call fails with."""
    calls: list[str] = field(default_factory=list)
    closed: bool = False
    _tokens: int = 0

    async def list_pending_jobs(self, scope: Scope, *, with_protected: bool = False) -> PendingJobs:
        """List jobs that wait."""
        self._call("list_pending_jobs")
        found = [job for job in self.jobs if _is_in(job.project, scope)]
        if not with_protected:
            found = [replace(job, protected=None) for job in found]
        newest = sorted(found, key=lambda job: -job.id)[: self.longest_list]
        return PendingJobs(tuple(newest), complete=len(newest) == len(found))

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

    async def close(self) -> None:
        """Give everything back."""
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


def _is_in(project: str, scope: Scope) -> bool:
    if scope.type is ScopeType.INSTANCE:
        return True
    return project == scope.path or (scope.type is ScopeType.GROUP and project.startswith(f"{scope.path}/"))
