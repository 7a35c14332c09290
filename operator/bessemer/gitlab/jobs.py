"""Jobs that wait, as GitLab writes them, and which runner takes which. Pure.

Sources: https://docs.gitlab.com/api/jobs/ and https://docs.gitlab.com/ci/runners/configure_runners/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bessemer.gitlab.protocol import PendingJob, Scope, ScopeType


@dataclass(frozen=True)
class RunnerTraits:
    """What decides which jobs GitLab gives to a runner."""

    scope: Scope
    tags: frozenset[str]
    run_untagged: bool
    protected: bool
    """Whether it takes jobs of protected refs only."""


def compute_matches(job: PendingJob, runner: RunnerTraits) -> bool:
    """Tell whether GitLab would give the job to the runner.

    A job whose ref is not known to be protected counts as unprotected, so a runner for protected refs is not started
    for it in vain.
    """
    if runner.scope.type is ScopeType.PROJECT and job.project.lower() != runner.scope.path.lower():
        return False
    if runner.scope.type is ScopeType.GROUP and not job.project.lower().startswith(f"{runner.scope.path.lower()}/"):
        return False
    if runner.protected and not job.protected:
        return False
    return job.tags <= runner.tags if job.tags else runner.run_untagged


def parse_rest_job(raw: Mapping[str, Any], project: str) -> PendingJob:
    """Read a job of the jobs API."""
    queued = raw.get("queued_at") or raw.get("created_at")
    return PendingJob(
        id=int(raw["id"]),
        project=project,
        tags=frozenset(raw.get("tag_list") or ()),
        ref=raw.get("ref") or "",
        by_tag=bool(raw.get("tag")),
        queued_at=datetime.fromisoformat(queued) if queued else None,
        name=raw.get("name") or "",
    )


def parse_graphql_job(raw: Mapping[str, Any], project: str) -> PendingJob:
    """Read a job of a GraphQL answer; its id there is ``gid://gitlab/Ci::Build/1001``."""
    queued = raw.get("queuedAt") or raw.get("createdAt")
    return PendingJob(
        id=int(str(raw["id"]).rsplit("/", 1)[-1]),
        project=project,
        tags=frozenset(raw.get("tags") or ()),
        ref=raw.get("refName") or "",
        by_tag=bool(raw.get("createdByTag")),
        queued_at=datetime.fromisoformat(queued) if queued else None,
        name=raw.get("name") or "",
    )
