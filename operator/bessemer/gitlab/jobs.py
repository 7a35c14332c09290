"""Jobs that wait, as GitLab writes them, and which runner takes which. Pure.

Sources: https://docs.gitlab.com/api/jobs/ and https://docs.gitlab.com/ci/runners/configure_runners/
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bessemer.foreign import Unreadable, make_line, parse_int, parse_time
from bessemer.gitlab.protocol import PendingJob, ProjectRef, Scope

NAME_CHARACTERS = 255
"""Of a job's name, a tag or a ref that are kept. GitLab has the same limit for names and tags."""
MOST_TAGS = 50
"""Maximum number of tags of a job. GitLab has the same limit, and a pool's runner has no more: it can't run a job with
more tags."""
PATH_CHARACTERS = 1024
_PATH = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*(/[A-Za-z0-9_.][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True)
class RunnerTraits:
    """What decides which jobs GitLab gives to a runner."""

    scope: Scope
    tags: frozenset[str]
    """Each as :func:`make_name` makes it."""
    run_untagged: bool
    protected: bool
    """Whether it takes jobs of protected refs only."""


def compute_matches(job: PendingJob, runner: RunnerTraits) -> bool:
    """Return whether GitLab would give the job to the runner.

    A job whose ref is not known to be protected counts as unprotected, so a runner for protected refs is not started
    for it without success.
    """
    if not runner.scope.has_project(job.project) or (runner.protected and not job.protected):
        return False
    return job.tags <= runner.tags if job.tags else runner.run_untagged


def make_name(text: object) -> str:
    """Return a name of GitLab's as it is kept, compared and shown: one printable line of at most 255 characters."""
    return make_line(text, NAME_CHARACTERS) if isinstance(text, str) else ""


def parse_rest_job(raw: object, project: ProjectRef) -> PendingJob | None:
    """Read a job of the jobs API; None for one that no runner of Bessemer can take, by its tags. Raises Unreadable."""
    job = parse_object(raw)
    pipeline = job.get("pipeline")
    number = pipeline.get("project_id") if isinstance(pipeline, dict) else None
    project = ProjectRef(project.path, project.id if number is None else parse_int(number))
    queued = job.get("queued_at") or job.get("created_at")
    return _build_job(
        parse_int(job.get("id")), project, job, (job.get("tag_list"), job.get("ref"), job.get("tag"), queued)
    )


def parse_graphql_job(raw: object) -> PendingJob | None:
    """Read a job of a GraphQL answer in the same way; its id there is ``gid://gitlab/Ci::Build/1001``."""
    job = parse_object(raw)
    project = parse_graphql_project(job.get("project"))
    queued = job.get("queuedAt") or job.get("createdAt")
    facts = (job.get("tags"), job.get("refName"), job.get("createdByTag"), queued)
    return _build_job(parse_global_id(job.get("id")), project, job, facts)


def parse_graphql_project(raw: object) -> ProjectRef:
    """Read number and full path of a project in a GraphQL answer. Raises Unreadable."""
    project = parse_object(raw)
    return ProjectRef(parse_path(project.get("fullPath")), parse_global_id(project.get("id")))


def parse_object(raw: object) -> dict[str, Any]:
    """Return what is an object; raises Unreadable for anything else."""
    if isinstance(raw, dict):
        return raw
    raise Unreadable("something else where there should be an object")


def parse_list(raw: object) -> list[Any]:
    """Return what is a list; raises Unreadable for anything else."""
    if isinstance(raw, list):
        return raw
    raise Unreadable("something else where there should be a list")


def parse_path(raw: object) -> str:
    """Return the full path of a project; raises Unreadable for what can be none."""
    if isinstance(raw, str) and len(raw) <= PATH_CHARACTERS and _PATH.fullmatch(raw) and not _has_dot_step(raw):
        return raw
    raise Unreadable("no path of a project")


def _has_dot_step(path: str) -> bool:
    """Return whether a path has a step that leads out of its group, for a proxy that resolves it."""
    return not {".", ".."}.isdisjoint(path.split("/"))


def parse_global_id(raw: object) -> int:
    """Return the number in a global ID, such as 12 for ``gid://gitlab/Project/12``. Raises Unreadable."""
    return parse_int(raw.rsplit("/", 1)[-1] if isinstance(raw, str) else None)


def _build_job(
    number: int, project: ProjectRef, job: dict[str, Any], facts: tuple[Any, Any, Any, Any]
) -> PendingJob | None:
    tags, ref, by_tag, queued = facts
    tags = parse_list(tags if tags is not None else [])
    if len(tags) > MOST_TAGS or any(not isinstance(tag, str) or len(tag) > NAME_CHARACTERS for tag in tags):
        return None
    return PendingJob(
        id=number,
        project=project.path,
        project_id=project.id,
        tags=make_names(tags),
        ref=make_name(ref),
        by_tag=by_tag is True,
        queued_at=_parse_time(queued),
        name=make_name(job.get("name")),
    )


def make_names(texts: Iterable[str]) -> frozenset[str]:
    """Return names as :func:`make_name` makes them."""
    return frozenset(map(make_name, texts))


def _parse_time(raw: object) -> datetime | None:
    return None if raw is None else parse_time(raw)
