"""Reads the jobs that wait in a group, however many projects it has.

A call asks GraphQL for the projects of a bounded number of pages, and which of them have pipelines under way; the jobs
of those are listed. In a group with more projects than that, the next call goes on where this one has ended, and all of
them are seen in turns. In between, each call lists the jobs of those that had pipelines under way when they were last
seen, and of those that a webhook has spoken of.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from bessemer.errors import BessemerError
from bessemer.gitlab.jobs import parse_graphql_project, parse_object
from bessemer.gitlab.pages import MAX_PAGES, Effort
from bessemer.gitlab.protocol import (
    AccessTokenRefused,
    GitLabNotFound,
    GitLabRefused,
    GitLabRejected,
    PendingJob,
    PendingJobs,
    ProjectRef,
    Scope,
)

PROJECTS_PER_PAGE = 50
MAX_PROJECTS = 200
"""Of a group, whose jobs are listed by one call; each costs a request."""
TURN_SECONDS = 10.0
"""Shortest time between two looks at the next projects of a group that is seen in turns, however often webhooks and
ended pods have its jobs listed: each is up to MAX_PAGES requests."""
MOST_BUSY = 2000
"""Projects with pipelines under way that are remembered."""
_UNDER_WAY = ("CREATED", "PENDING", "RUNNING")
"""Statuses of pipelines in which jobs wait. Jobs are enqueued before their pipeline's status says so."""
_PIPELINES = " ".join(
    f"{status.lower()}{of}: pipelines(status: {status}{argument}, first: 1) {{ nodes {{ id }} }}"
    for status in _UNDER_WAY
    # Pipelines that others have started in the same project are given only where they are asked for.
    for of, argument in (("", ""), ("_child", ', source: "parent_pipeline"'))
)
GROUP_PROJECTS = f"""query($path: ID!, $after: String) {{ group(fullPath: $path) {{
  projects(includeSubgroups: true, first: {PROJECTS_PER_PAGE}, after: $after) {{ pageInfo {{ hasNextPage endCursor }}
    nodes {{ id fullPath {_PIPELINES} }} }} }} }}"""
"""By GitLab's own sum its complexity is about 40; an access token may ask for 250.
Source: https://docs.gitlab.com/api/graphql/#limits
"""


@dataclass(frozen=True)
class Page:
    """One page of a connection."""

    nodes: list[Any]
    after: str | None
    """Where the next one begins; None: this is the last."""


AskGroup = Callable[[str, str, str | None], Awaitable[Page]]
"""Asks for one page of a group's projects: query, full path, and after which cursor."""
ListProject = Callable[[ProjectRef, Effort], Awaitable[tuple[list[PendingJob], bool]]]
"""Lists the jobs of a project, and tells whether these are all."""


class GroupReader:
    """One group, and how far its projects were looked at."""

    def __init__(self, scope: Scope, ask: AskGroup, list_project: ListProject, monotonic: Callable[[], float]) -> None:
        self._scope, self._ask, self._list_project, self._monotonic = scope, ask, list_project, monotonic
        self._looked = -TURN_SECONDS
        self._after: str | None = None
        """Where the next call goes on; None: at the beginning."""
        self._busy: dict[int | str, ProjectRef] = {}
        """Projects with pipelines under way when they were last seen, by number or path; first the one whose jobs were
        not listed for the longest time."""
        self._met: set[int | str] = set()
        """Projects that this round has met with, or that webhooks have spoken of in its time."""
        self._calls = 0
        """How many calls the round over all projects has taken so far."""
        self._round = 0
        """How many the last whole round took; 0: there was none yet."""

    async def list_jobs(self, hints: Collection[ProjectRef], effort: Effort) -> PendingJobs:
        """List the jobs of the next projects, of busy ones and of hinted ones."""
        from_start = self._after is None
        early = self._monotonic() - self._looked < TURN_SECONDS
        in_turns = self._after is not None or self._round > 1
        seen = set() if early and in_turns else await self._look_at_projects(effort)
        hinted = {_make_key(hint): hint for hint in hints if self._scope.has_project(hint.path)}
        self._met |= set(hinted)
        due = list((hinted | {key: project for key, project in self._busy.items() if key not in hinted}).values())
        jobs: dict[int, PendingJob] = {}
        whole, cut = set(seen), 0
        for project in due[:MAX_PROJECTS]:
            if effort.spent or effort.full:
                break
            found, all_of_it = await self._list_one(project, effort)
            jobs |= {job.id: job for job in found}
            if all_of_it:
                whole |= _name_all(project)
            cut += not all_of_it
            self._put_listed(project, waiting=bool(found))
        all_seen = from_start and self._after is None and self._round == 1
        unlisted = sum(not _name_all(project) <= whole for project in due) - cut
        if all_seen and not unlisted and not cut:
            return PendingJobs(tuple(jobs.values()))
        note = self._explain(all_seen, unlisted, cut)
        return PendingJobs(tuple(jobs.values()), False, note, frozenset(whole))

    async def _look_at_projects(self, effort: Effort) -> set[int | str]:
        """Check the next pages of projects; return the names of those without active pipelines."""
        idle: set[int | str] = set()
        after = self._after
        for _ in range(MAX_PAGES):
            if effort.spent:
                break
            effort.spend()
            try:
                page = await self._ask(GROUP_PROJECTS, self._scope.path, self._after)
            except GitLabRejected:
                self._after = None  # whatever is wrong with the cursor, the next call has none
                raise
            except BessemerError:
                self._after = after  # as if this call had not been: what it has seen is not known to the caller
                raise
            for node in page.nodes:
                project = parse_graphql_project(node)
                key = _make_key(project)
                self._met.add(key)
                if any(_has_nodes(part) for part in parse_object(node).values()):
                    self._busy.setdefault(key, project)
                else:
                    self._busy.pop(key, None)
                    idle |= _name_all(project)
            self._after = page.after
            if self._after is None:
                break
        self._looked = self._monotonic()
        self._calls += 1
        if self._after is None:
            self._round, self._calls = self._calls, 0
            # What was not met in a whole round has left the group.
            self._busy = {key: project for key, project in self._busy.items() if key in self._met}
            self._met.clear()
        return idle

    async def _list_one(self, project: ProjectRef, effort: Effort) -> tuple[list[PendingJob], bool]:
        try:
            return await self._list_project(project, effort)
        except AccessTokenRefused:
            raise
        except (GitLabRefused, GitLabNotFound):  # it was deleted or moved since, or its jobs are hidden
            self._busy.pop(_make_key(project), None)
            return [], True

    def _put_listed(self, project: ProjectRef, *, waiting: bool) -> None:
        """Move the project to the end of the queue; record a project that was not known to be busy if jobs
        wait in it.
        """
        key = _make_key(project)
        known = self._busy.pop(key, None)
        if known is not None or waiting:
            self._busy[key] = known or project
        while len(self._busy) > MOST_BUSY:
            del self._busy[next(iter(self._busy))]

    def _explain(self, all_seen: bool, unlisted: int, cut: int) -> str:
        """Return which bound was met, and what helps."""
        parts = []
        if not all_seen:
            at_once = MAX_PAGES * PROJECTS_PER_PAGE
            turns = f"in turns of {self._round} polls" if self._round > 1 else "in turns"
            parts.append(
                f"{self._scope} has more projects than the {at_once} that a poll looks at, so they are seen {turns}"
            )
        if unlisted:
            count = "1 project" if unlisted == 1 else f"{unlisted} projects"
            parts.append(f"{count} with pipelines under way {'is' if unlisted == 1 else 'are'} left to the next polls")
        if cut:
            parts.append("in some projects more jobs wait than are listed at once, which are the newest")
        return f"{'; '.join(parts)}; jobs that a webhook announces are listed at once"


def _make_key(project: ProjectRef) -> int | str:
    return project.path.lower() if project.id is None else project.id


def _name_all(project: ProjectRef) -> set[int | str]:
    """Return all names that a job may have its project by."""
    return {project.path.lower()} | ({project.id} if project.id is not None else set())


def _has_nodes(part: object) -> bool:
    return isinstance(part, dict) and bool(part.get("nodes"))
