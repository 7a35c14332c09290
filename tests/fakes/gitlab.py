"""A GitLab in memory behind the same client as the real one: for speed, and for what can't be had from a real one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bessemer.errors import BessemerError
from bessemer.gitlab.protocol import (
    Changes,
    Comment,
    GitLabNotFound,
    GitLabRefused,
    Head,
    Identity,
    Job,
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
    refuses_tokens: bool = False
    """Whether it refuses every token of a runner."""
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
        """List the runners of a scope that have the marker."""
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
        if self.refuses_tokens:
            return None
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


@dataclass
class FakeRepository:
    """A project's repository in memory, behind the same client as the real one."""

    project: str
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Files by their paths, by commit."""
    messages: dict[str, str] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    """Commits by the full names of branches and tags."""
    bases: dict[tuple[str, str], str] = field(default_factory=dict)
    """The commits where two others part, unless that is the first one."""
    unprotected: set[str] = field(default_factory=set)
    """Refs that are not protected."""
    merge_requests: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What is known of merge requests beyond their commits, by their refs: fields of Head, or ``closed``."""
    members: dict[int, int] = field(default_factory=dict)
    """Roles by the numbers of users."""
    comments: dict[tuple[str, int], Comment | None] = field(default_factory=dict)
    """Comments by the refs of their merge requests and their numbers; None: it was deleted."""
    expires_at: datetime | None = None
    project_id: int = 20
    user_id: int = 99
    """Number of the access token's user."""
    jobs: dict[int, str] = field(default_factory=dict)
    """States of jobs by their numbers."""
    job_refs: dict[int, str] = field(default_factory=dict)
    """Full names of the refs of jobs, where these are not jobs of main."""
    error: BessemerError | None = None
    """What every call fails with."""
    refuses_tokens: bool = False
    """Whether it refuses every token of a runner."""
    calls: list[str] = field(default_factory=list)
    closed: bool = False

    async def get_project_id(self, project: str) -> int:
        """Return the number of the project."""
        self._call("get_project_id", project)
        return self.project_id

    async def get_project_path(self, number: int) -> str | None:
        """Return the path of the project."""
        self._call("get_project_path", self.project)
        return self.project if number == self.project_id else None

    async def list_projects(self, group: str) -> list[str]:
        """List the project."""
        self._call("list_projects", self.project)
        return [self.project] if self.project.lower().startswith(f"{group.lower()}/") else []

    async def get_job(self, project: str, job_id: int) -> Job | None:
        """Return a job."""
        self._call("get_job", project)
        state = self.jobs.get(job_id)
        return Job(state, self.job_refs.get(job_id, "refs/heads/main")) if state is not None else None

    def push(self, ref: str, commit: str, files: dict[str, bytes], message: str = "a change") -> None:
        """Have a ref point to a commit with these files."""
        self.commits[commit], self.messages[commit], self.heads[ref] = files, message, commit

    async def get_head(self, project: str, ref: str) -> Head | None:
        """Return where a branch or tag points."""
        self._call("get_head", project)
        commit, more = self.heads.get(ref), self.merge_requests.get(ref, {})
        if commit is None or more.get("closed"):
            return None
        return Head(commit, ref not in self.unprotected, self.messages[commit], **more)

    async def get_access_level(self, project: str, user_id: int) -> int:
        """Return the role of a user."""
        self._call("get_access_level", project)
        return self.members.get(user_id, 0)

    async def get_comment(self, project: str, ref: str, number: int) -> Comment | None:
        """Return a comment."""
        self._call("get_comment", project)
        return self.comments.get((ref, number))

    async def get_user_id(self) -> int:
        """Return the number of the access token's user."""
        self._call("get_user_id", self.project)
        return self.user_id

    async def list_heads(self, project: str) -> dict[str, Head]:
        """Return where branches and tags point."""
        self._call("list_heads", project)
        protected = {ref: ref not in self.unprotected for ref in self.heads}
        return {ref: Head(commit, protected[ref], self.messages[commit]) for ref, commit in self.heads.items()}

    async def get_file(self, project: str, path: str, commit: str) -> bytes | None:
        """Return the content of a file at a commit."""
        return self._open("get_file", project, commit).get(path)

    async def list_files(self, project: str, folder: str, commit: str) -> list[str]:
        """List the files below a folder."""
        files = self._open("list_files", project, commit)
        return sorted(path for path in files if not folder or path.startswith(f"{folder}/"))

    async def compare(self, project: str, before: str, after: str, *, parted: bool = False) -> Changes:
        """Return which files differ."""
        base = self.bases.get((before, after), before) if parted else before
        one, two = self._open("compare", project, base), self._open("compare", project, after)
        return Changes(frozenset(path for path in {*one, *two} if one.get(path) != two.get(path)))

    async def get_expiry(self) -> datetime | None:
        """Return when the access token ends."""
        self._call("get_expiry", self.project)
        return self.expires_at

    async def close(self) -> None:
        """Close it."""
        self.closed = True

    def _open(self, call: str, project: str, commit: str) -> dict[str, bytes]:
        self._call(call, project)
        if commit not in self.commits:
            raise GitLabNotFound("404 Commit Not Found")
        return self.commits[commit]

    def _call(self, call: str, project: str) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error
        if project.lower() != self.project.lower():
            raise GitLabNotFound("404 Project Not Found")


class FakeGroup:
    """Several projects, each a FakeRepository, behind the client of all of them."""

    def __init__(self, *projects: FakeRepository) -> None:
        self.projects = {one.project.lower(): one for one in projects}

    async def list_projects(self, group: str) -> list[str]:
        """List the projects of the group."""
        return [path for one in self.projects.values() for path in await one.list_projects(group)]

    async def get_project_path(self, number: int) -> str | None:
        """Return the path of a project."""
        return next((one.project for one in self.projects.values() if one.project_id == number), None)

    async def get_expiry(self) -> datetime | None:
        """Return when the access token ends."""
        return None

    async def get_user_id(self) -> int:
        """Return the number of the access token's user."""
        return next(iter(self.projects.values())).user_id

    async def close(self) -> None:
        """Do nothing."""

    async def get_head(self, project: str, ref: str) -> Head | None:
        """Return where a branch or tag points."""
        return await self._find(project).get_head(project, ref)

    async def list_heads(self, project: str) -> dict[str, Head]:
        """Return where branches and tags point."""
        return await self._find(project).list_heads(project)

    async def get_file(self, project: str, path: str, commit: str) -> bytes | None:
        """Return the content of a file at a commit."""
        return await self._find(project).get_file(project, path, commit)

    async def list_files(self, project: str, folder: str, commit: str) -> list[str]:
        """List the files below a folder."""
        return await self._find(project).list_files(project, folder, commit)

    async def get_access_level(self, project: str, user_id: int) -> int:
        """Return the role of a user."""
        return await self._find(project).get_access_level(project, user_id)

    async def get_comment(self, project: str, ref: str, number: int) -> Comment | None:
        """Return a comment."""
        return await self._find(project).get_comment(project, ref, number)

    async def get_job(self, project: str, job_id: int) -> Job | None:
        """Return a job."""
        return await self._find(project).get_job(project, job_id)

    def _find(self, project: str) -> FakeRepository:
        if project.lower() not in self.projects:
            raise GitLabNotFound("404 Project Not Found")
        return self.projects[project.lower()]
