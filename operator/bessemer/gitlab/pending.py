"""Reads the jobs that wait in a project, a group or the instance. Blocks; raises python-gitlab's errors and ours.

GraphQL gives an administrator the jobs of the instance. It gives those of a project for one project in a request only
(https://docs.gitlab.com/api/graphql/reference/#project, ``jobs``), so of a group it is asked which projects have
pipelines that are under way; their jobs are then listed by REST, in which nothing is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import gitlab
from gitlab.exceptions import GitlabHttpError

from bessemer.gitlab.failures import is_hidden
from bessemer.gitlab.jobs import parse_graphql_job, parse_rest_job
from bessemer.gitlab.pages import MAX_PAGES, list_pages
from bessemer.gitlab.protected import ProtectedRefs
from bessemer.gitlab.protocol import GitLabNotFound, GitLabRejected, PendingJob, PendingJobs, Scope, ScopeType

MAX_PROJECTS = 200
"""Of a group, whose jobs are listed by one reading; each costs a request."""
_UNDER_WAY = ("CREATED", "PENDING", "RUNNING")
"""Statuses of pipelines in which jobs wait. Jobs are enqueued before their pipeline's status says so."""
_INSTANCE_JOBS = """query($after: String) { jobs(statuses: [PENDING], first: 100, after: $after) {
  pageInfo { hasNextPage endCursor } nodes { id name tags refName createdByTag queuedAt project { fullPath } } } }"""
_PIPELINES = " ".join(
    f"{status.lower()}{of}: pipelines(status: {status}{argument}, first: 1) {{ nodes {{ id }} }}"
    for status in _UNDER_WAY
    # Pipelines that others have started in the same project are given only where they are asked for.
    for of, argument in (("", ""), ("_child", ', source: "parent_pipeline"'))
)
_GROUP_PROJECTS = f"""query($path: ID!, $after: String) {{ group(fullPath: $path) {{
  projects(includeSubgroups: true, first: 50, after: $after) {{ pageInfo {{ hasNextPage endCursor }}
    nodes {{ fullPath {_PIPELINES} }} }} }} }}"""
"""By GitLab's own sum its complexity is about 40; an access token may ask for 250.
Source: https://docs.gitlab.com/api/graphql/#limits
"""


class PendingReader:
    """The jobs that wait, as one access token sees them."""

    def __init__(self, api: gitlab.Gitlab, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._protected = ProtectedRefs(api, monotonic)

    def list_jobs(self, scope: Scope, *, with_protected: bool) -> PendingJobs:
        """List the jobs of a scope."""
        match scope.type:
            case ScopeType.PROJECT:
                jobs, complete = self._list_project(scope.path)
            case ScopeType.GROUP:
                jobs, complete = self._list_group(scope.path)
            case ScopeType.INSTANCE:
                jobs, complete = self._list_instance()
        return PendingJobs(tuple(self._protected.add_protected(jobs) if with_protected else jobs), complete)

    def _list_project(self, project: str) -> tuple[list[PendingJob], bool]:
        raw, complete = list_pages(self._api, f"/projects/{quote(project, safe='')}/jobs", {"scope[]": "pending"})
        return [parse_rest_job(job, project) for job in raw], complete

    def _list_group(self, group: str) -> tuple[list[PendingJob], bool]:
        projects, complete = self._list_connection(_GROUP_PROJECTS, group)
        busy = [project["fullPath"] for project in projects if any(_has_nodes(part) for part in project.values())]
        jobs: list[PendingJob] = []
        for project in busy[:MAX_PROJECTS]:
            try:
                found, whole = self._list_project(project)
            except GitlabHttpError as error:
                if is_hidden(error):  # it was deleted or moved since
                    continue
                raise
            jobs += found
            complete = complete and whole
        return jobs, complete and len(busy) <= MAX_PROJECTS

    def _list_instance(self) -> tuple[list[PendingJob], bool]:
        raw, complete = self._list_connection(_INSTANCE_JOBS)
        return [parse_graphql_job(job, job["project"]["fullPath"]) for job in raw], complete

    def _list_connection(self, query: str, group: str | None = None) -> tuple[list[dict[str, Any]], bool]:
        """Read the one connection that a query pages through; tell whether that is all of it."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        for _ in range(MAX_PAGES):
            data = self._ask(query, {"after": after} | ({} if group is None else {"path": group}))
            if group is not None and data["group"] is None:
                raise GitLabNotFound(f"group {group} is null")
            page = data["jobs"] if group is None else data["group"]["projects"]
            found += page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return found, True
            after = page["pageInfo"]["endCursor"]
        return found, False

    def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        answer: Any = self._api.http_post(f"{self._api.url}/api/graphql", post_data=body)
        if answer.get("errors"):
            raise GitLabRejected("; ".join(str(error.get("message")) for error in answer["errors"])[:1024])
        data: dict[str, Any] = answer["data"]
        return data


def _has_nodes(part: Any) -> bool:
    return isinstance(part, dict) and bool(part["nodes"])
