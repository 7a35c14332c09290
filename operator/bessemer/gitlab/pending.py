"""Reads the jobs that wait in a project, a group or the instance. Raises GitLab's errors.

GraphQL gives an administrator the jobs of the instance. It gives those of a project for one project in a request only
(https://docs.gitlab.com/api/graphql/reference/#project, ``jobs``), so of a group it is asked which projects have
pipelines that are under way (:mod:`groups`); their jobs are then listed by REST, in which nothing is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import quote

from bessemer.foreign import Unreadable
from bessemer.gitlab.failures import explain_errors, explain_unreadable
from bessemer.gitlab.groups import GroupReader, Page
from bessemer.gitlab.jobs import parse_graphql_job, parse_list, parse_object, parse_rest_job
from bessemer.gitlab.pages import MAX_PAGES, PAGE_SIZE, Effort, iterate_pages
from bessemer.gitlab.protected import ProtectedRefs
from bessemer.gitlab.protocol import (
    GitLabNotFound,
    GitLabRejected,
    PendingJob,
    PendingJobs,
    ProjectRef,
    Scope,
    ScopeType,
)
from bessemer.gitlab.transport import GRAPHQL, Transport

_INSTANCE_JOBS = f"""query($after: String) {{ jobs(statuses: [PENDING], first: {PAGE_SIZE}, after: $after) {{
  pageInfo {{ hasNextPage endCursor }}
  nodes {{ id name tags refName createdByTag queuedAt project {{ id fullPath }} }} }} }}"""


class PendingReader:
    """The jobs that wait, as one access token sees them."""

    def __init__(self, transport: Transport, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._transport = transport
        self._protected = ProtectedRefs(transport, monotonic)
        self._monotonic = monotonic
        self._groups: dict[str, GroupReader] = {}

    async def list_jobs(
        self, scope: Scope, *, with_protected: bool = False, hints: Collection[ProjectRef] = ()
    ) -> PendingJobs:
        """List the jobs of a scope."""
        effort = Effort()
        try:
            match scope.type:
                case ScopeType.PROJECT:
                    found = await self._list_project_scope(scope.path, effort)
                case ScopeType.GROUP:
                    reader = self._groups.setdefault(
                        scope.path, GroupReader(scope, self._ask_group, self._list_project, self._monotonic)
                    )
                    found = await reader.list_jobs(hints, effort)
                case ScopeType.INSTANCE:
                    found = await self._list_instance(effort)
            jobs = tuple(await self._protected.add_protected(found.jobs, effort)) if with_protected else found.jobs
        except Unreadable as error:
            raise explain_unreadable(error) from error
        return PendingJobs(jobs, found.complete, found.note, found.whole)

    async def _list_project_scope(self, path: str, effort: Effort) -> PendingJobs:
        jobs, whole = await self._list_project(ProjectRef(path), effort)
        return PendingJobs(tuple(jobs), whole, "" if whole else explain_newest(len(jobs)))

    async def _list_project(self, project: ProjectRef, effort: Effort) -> tuple[list[PendingJob], bool]:
        """List the jobs of a project; the second tells whether these are all."""
        name = quote(project.path if project.id is None else str(project.id), safe="")
        jobs: list[PendingJob] = []
        async for page, last in iterate_pages(
            self._transport, f"/projects/{name}/jobs", {"scope[]": "pending"}, effort
        ):
            admitted, all_of_them = effort.admit(parse_rest_job(raw, project) for raw in page)
            jobs += admitted
            if last or not all_of_them:
                return jobs, all_of_them
        return jobs, False

    async def _list_instance(self, effort: Effort) -> PendingJobs:
        jobs: list[PendingJob] = []
        after: str | None = None
        for _ in range(MAX_PAGES):
            if effort.spent or effort.full:
                break
            effort.spend()
            page = _parse_page((await self._ask(_INSTANCE_JOBS, {"after": after})).get("jobs"))
            admitted, all_of_them = effort.admit(map(parse_graphql_job, page.nodes))
            jobs += admitted
            if page.after is None and all_of_them:
                return PendingJobs(tuple(jobs))
            if page.after is None:
                break
            after = page.after
        return PendingJobs(tuple(jobs), False, explain_newest(len(jobs)))

    async def _ask_group(self, query: str, group: str, after: str | None) -> Page:
        data = await self._ask(query, {"path": group, "after": after})
        if "group" in data and data["group"] is None:
            raise GitLabNotFound(f"group {group} is null")
        return _parse_page(parse_object(data.get("group")).get("projects"))

    async def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        answer = parse_object((await self._transport.fetch("POST", GRAPHQL, body=body)).get_data())
        if answer.get("errors"):
            raise GitLabRejected(explain_errors(parse_list(answer["errors"])))
        return parse_object(answer.get("data"))


def explain_newest(listed: int) -> str:
    """Say that a list of jobs was cut off."""
    return f"more jobs wait than the {listed} that are listed at once, which are the newest"


def _parse_page(raw: object) -> Page:
    connection = parse_object(raw)
    info = parse_object(connection.get("pageInfo"))
    after = info.get("endCursor")
    more = info.get("hasNextPage") is True
    if more and not (isinstance(after, str) and 0 < len(after) <= 4096):
        raise Unreadable("a page without the cursor of the next one")
    return Page(parse_list(connection.get("nodes")), after if more else None)
