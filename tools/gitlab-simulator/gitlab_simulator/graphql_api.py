"""GitLab's GraphQL API, as far as jobs that wait are read by it: https://docs.gitlab.com/api/graphql/reference/

``jobs``, ``project``, ``group``, ``runners`` and ``currentUser``; any other field is an error, as is a query that is
too complex, or that asks for the jobs of more than one project. Much that GitLab has is not here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from .access import authorize
from .clock import build_time
from .graphql_syntax import GraphQLSyntaxError, Selected, parse_query
from .model import REPORTER, Group, Job, Pipeline, Project, Runner, User
from .pipelines import compute_pipeline_status
from .state import GitLabState

Resolver = Callable[[Any, dict[str, Any], User], Any]
PAGE = 100
"""The most that a connection gives at once, also without ``first``."""


class GraphQLFieldError(Exception):
    """A field that is not there, lacks its fields, or may not be asked for."""


class _Query:
    """One query that is being answered."""

    def __init__(self, types: dict[type, dict[str, Resolver]]) -> None:
        self._types = types
        self._lists_of_jobs = 0

    def resolve(self, subject: Any, fields: Sequence[Selected], user: User) -> Any:
        """Return the fields of a subject."""
        found = {}
        for field in fields:
            if isinstance(subject, dict):
                if field.name not in subject:
                    raise GraphQLFieldError(f"Field '{field.name}' doesn't exist on a connection")
                value = subject[field.name]
            else:
                resolvers = self._types[type(subject)]
                if field.name not in resolvers:
                    kind = "Query" if subject is None else type(subject).__name__
                    raise GraphQLFieldError(f"Field '{field.name}' doesn't exist on type '{kind}'")
                self._count(subject, field)
                value = resolvers[field.name](subject, field.arguments, user)
            found[field.alias] = self._resolve_value(value, field, user)
        return found

    def _resolve_value(self, value: Any, field: Selected, user: User) -> Any:
        sample = value[0] if isinstance(value, list) and value else value
        is_object = sample is not None and (type(sample) in self._types or isinstance(sample, dict))
        if is_object and not field.fields:
            raise GraphQLFieldError(f"Field must have selections (field '{field.name}' returns an object)")
        if field.fields and sample is not None and sample != [] and not is_object:
            raise GraphQLFieldError(f"Selections can't be made on scalars (field '{field.name}')")
        if is_object and not isinstance(value, list):
            return self.resolve(value, field.fields, user)
        return [self.resolve(one, field.fields, user) for one in value] if is_object else value

    def _count(self, subject: Any, field: Selected) -> None:
        """Refuse what is too expensive for GitLab: ``Project.jobs`` is answered once in a query, for any user.

        Source: ``extension ::Gitlab::Graphql::Limit::FieldCallCount, limit: 1`` of its resolver,
        https://gitlab.com/gitlab-org/gitlab/-/blob/master/app/graphql/resolvers/project_jobs_resolver.rb
        """
        if isinstance(subject, Project) and field.name == "jobs":
            self._lists_of_jobs += 1
            if self._lists_of_jobs > 1:
                raise GraphQLFieldError('"jobs" field can be requested only for 1 Project(s) at a time.')


class GraphQLApi:
    """The route /api/graphql. Every object is answered through the table of its type."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state
        self._types: dict[type, dict[str, Resolver]] = {
            type(None): {
                "jobs": self._list_jobs,
                "project": lambda _, args, user: self._see(self._state.find_project(args.get("fullPath", "")), user),
                "group": lambda _, args, user: self._see(self._state.find_group(args.get("fullPath", "")), user),
                "runners": self._list_runners,
                "currentUser": lambda _, __, user: user,
            },
            User: {"id": lambda user, *_: f"gid://gitlab/User/{user.id}", "username": lambda user, *_: user.username},
            Job: self._job_fields(),
            Project: {
                "id": lambda project, *_: f"gid://gitlab/Project/{project.id}",
                "fullPath": lambda project, *_: project.full_path,
                "jobs": lambda project, args, _: _connect(
                    _filter(self._state.list_project_jobs(project), args), args, newest_first=True
                ),
                "pipelines": self._list_pipelines,
            },
            Pipeline: {
                "id": lambda pipeline, *_: f"gid://gitlab/Ci::Pipeline/{pipeline.id}",
                "status": lambda pipeline, *_: self._compute_status(pipeline),
                "source": lambda pipeline, *_: pipeline.source,
            },
            Group: {
                "id": lambda group, *_: f"gid://gitlab/Group/{group.id}",
                "fullPath": lambda group, *_: group.full_path,
                "projects": self._list_projects,
            },
            Runner: {
                "id": lambda runner, *_: f"gid://gitlab/Ci::Runner/{runner.id}",
                "description": lambda runner, *_: runner.description,
                "paused": lambda runner, *_: runner.paused,
                "runnerType": lambda runner, *_: runner.type.name + "_TYPE",
                "tagList": lambda runner, *_: runner.tags,
                "runUntagged": lambda runner, *_: runner.run_untagged,
                "accessLevel": lambda runner, *_: runner.access_level.upper(),
            },
        }

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add it."""
        router.add_post("/api/graphql", self.answer)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one query."""
        user = authorize(self._state, request)
        try:
            body = json.loads(await request.read())
            fields = parse_query(body.get("query") or "", body.get("variables") or {})
            limit = self._state.settings.graphql_complexity
            if (complexity := compute_complexity(fields)) > limit:
                raise GraphQLFieldError(
                    f"Query has complexity of {complexity}, which exceeds max complexity of {limit}"
                )
            data = _Query(self._types).resolve(None, fields, user)
        except (GraphQLSyntaxError, GraphQLFieldError) as error:
            return web.json_response({"errors": [{"message": str(error)}]})
        except (ValueError, AttributeError) as error:
            raise web.HTTPBadRequest(
                text='{"errors":[{"message":"Unexpected end of document"}]}', content_type="application/json"
            ) from error
        return web.json_response({"data": data})

    def _job_fields(self) -> dict[str, Resolver]:
        state = self._state
        return {
            "id": lambda job, *_: f"gid://gitlab/Ci::Build/{job.id}",
            "name": lambda job, *_: job.name,
            "status": lambda job, *_: job.status.name,
            "tags": lambda job, *_: job.tags,
            "createdByTag": lambda job, *_: state.pipelines[job.pipeline_id].tag,
            "refName": lambda job, *_: state.pipelines[job.pipeline_id].ref,
            "createdAt": lambda job, *_: build_time(job.created_at),
            "queuedAt": lambda job, *_: build_time(job.pending_at),
            "startedAt": lambda job, *_: build_time(job.started_at),
            "finishedAt": lambda job, *_: build_time(job.finished_at),
            "project": lambda job, *_: state.projects[job.project_id],
            "runner": lambda job, *_: state.runners.get(job.runner_id or 0),
        }

    def _see(self, subject: Project | Group | None, user: User) -> Project | Group | None:
        """What a user may not see is null, not an error."""
        return subject if subject and self._state.compute_access(user, subject.full_path) >= REPORTER else None

    def _list_jobs(self, _: Any, args: dict[str, Any], user: User) -> dict[str, Any] | None:
        """Jobs of the whole instance, for administrators only."""
        if not user.admin:
            return None
        return _connect(_filter(list(reversed(self._state.jobs.values())), args), args, newest_first=True)

    def _list_runners(self, _: Any, args: dict[str, Any], user: User) -> dict[str, Any] | None:
        return _connect(list(self._state.runners.values()), args, newest_first=False) if user.admin else None

    def _list_pipelines(self, project: Project, args: dict[str, Any], _: User) -> dict[str, Any]:
        """Those that another pipeline of the project has started are given only where that source is asked for."""
        found = [one for one in reversed(self._state.pipelines.values()) if one.project_id == project.id]
        source, status = args.get("source"), args.get("status")
        found = [one for one in found if (one.source == source if source else one.source != "parent_pipeline")]
        if status:
            found = [one for one in found if self._compute_status(one) == status]
        return _connect(found, args, newest_first=True)

    def _compute_status(self, pipeline: Pipeline) -> str:
        return compute_pipeline_status(self._state, pipeline).upper()

    def _list_projects(self, group: Group, args: dict[str, Any], user: User) -> dict[str, Any]:
        projects = self._state.list_group_projects(group)
        if not args.get("includeSubgroups"):
            projects = [one for one in projects if one.full_path.rpartition("/")[0] == group.full_path]
        seen = [one for one in projects if self._see(one, user)]
        return _connect(seen, args, newest_first=False)


def _filter(jobs: list[Job], args: dict[str, Any]) -> list[Job]:
    statuses = args.get("statuses")
    return [job for job in jobs if not job.retried and (not statuses or job.status.name in statuses)]


def _connect(items: Sequence[Any], args: dict[str, Any], *, newest_first: bool) -> dict[str, Any]:
    """Return one page of a connection; the cursor is opaque, and holds even if what it names is gone from the list."""
    first = args.get("first")
    if isinstance(first, int) and first < 0:
        raise GraphQLFieldError("first must not be negative")
    if args.get("after"):
        try:
            last = int(json.loads(base64.b64decode(args["after"]))["id"])
        except (ValueError, KeyError, TypeError):
            raise GraphQLFieldError("Please provide a valid cursor") from None
        items = [one for one in items if (one.id < last if newest_first else one.id > last)]
    size = min(PAGE, PAGE if first is None else first)
    page = list(items[:size])
    cursor = base64.b64encode(json.dumps({"id": str(page[-1].id)}).encode()).decode() if page else None
    return {
        "nodes": page,
        "count": len(items),
        "pageInfo": {"hasNextPage": len(items) > size, "endCursor": cursor},
    }


def compute_complexity(fields: Sequence[Selected]) -> int:
    """Count fields, those below a list for more: simpler than GitLab's own sum."""
    total = 0
    for field in fields:
        below = compute_complexity(field.fields)
        total += 1 + (below * 2 if "first" in field.arguments else below)
    return total
