"""Who a job of GitLab is, by the claims of its ID token or by what GitLab says of its job token. Pure.

Sources: https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload and
https://docs.gitlab.com/api/jobs/#retrieve-a-job-by-job-token
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bessemer.foreign import Unreadable, make_line, parse_int
from bessemer.gitlab.events import BRANCH, MERGE_REQUEST, TAG, is_commit
from bessemer.gitlab.idtoken import ProofRefused

_REF = re.compile(r"[^\s\x00-\x1f\x7f]{1,255}")
MERGE_REQUEST_SOURCE = "merge_request_event"
"""Source of a merge request's pipeline: its ID tokens name the source branch, which is a fork's where a member has
started the pipeline for one, and say of it what holds for the project's own branch of that name.
Source: git_ref in app/models/ci/pipeline.rb of gitlab-org/gitlab"""
RUNNING = "running"
AT_WORK = frozenset({RUNNING, "canceling"})
"""States of a job that still executes a script: while it is being cancelled, that is its after_script."""
OVER = frozenset({"success", "failed", "canceled", "canceling", "skipped"})
"""States of a job that will not run any more, or whose script was stopped.
Source: https://docs.gitlab.com/api/jobs/ and app/models/concerns/ci/has_status.rb of gitlab-org/gitlab"""


class ProofKind(StrEnum):
    """How a job proves who it is."""

    ID_TOKEN = "IdToken"  # noqa: S105  a word
    JOB_TOKEN = "JobToken"  # noqa: S105  a word


@dataclass(frozen=True)
class JobIdentity:
    """A job that has proven who it is."""

    proof: ProofKind
    project_id: int
    pipeline_id: int
    job_id: int
    ref: str
    """Full name, such as refs/heads/main."""
    commit: str
    protected: bool | None
    """Whether the ref is protected; None where the proof does not say it."""
    environment: str | None
    """The environment that it deploys to; None where it has none, or the proof does not say it."""
    user: str
    """User name of who started it; empty where the proof does not say it."""
    merge_request: bool = False
    """Whether its pipeline is that of a merge request: which one, and whether from a fork, the proof does not say, and
    ref is empty until GitLab has said it."""
    target: str = ""
    """Short name of the branch that the merge request goes to."""


def read_claims(claims: Mapping[str, Any]) -> JobIdentity:
    """Return the job of an ID token whose signature is right; raises ProofRefused ClaimsBroken, WrongPipeline."""
    kind = claims.get("ref_type")
    if kind not in ("branch", "tag"):
        raise ProofRefused("WrongPipeline", "the job's pipeline is not that of a branch or tag")
    of_merge_request = claims.get("pipeline_source") == MERGE_REQUEST_SOURCE
    protected = claims.get("ref_protected")
    if protected not in ("true", "false"):
        raise ProofRefused("ClaimsBroken", "the claim ref_protected of the ID token is neither true nor false")
    return JobIdentity(
        proof=ProofKind.ID_TOKEN,
        project_id=_read_number(claims, "project_id"),
        pipeline_id=_read_number(claims, "pipeline_id"),
        job_id=_read_number(claims, "job_id"),
        ref="" if of_merge_request else _read_ref(claims.get("ref"), by_tag=kind == "tag"),
        commit=_read_commit(claims.get("sha")),
        protected=None if of_merge_request else protected == "true",
        merge_request=of_merge_request,
        environment=_read_environment(claims.get("environment")),
        user=_read_user(claims.get("user_login")),
    )


def read_job(raw: object) -> tuple[JobIdentity, str]:
    """Return the job of a job token, and its state in GitLab's words; raises ProofRefused ClaimsBroken, WrongPipeline.

    GitLab does not say of it whether the ref is protected, nor its environment.
    """
    job = raw if isinstance(raw, dict) else {}
    pipeline, user = _get_object(job, "pipeline"), _get_object(job, "user")
    ref = job.get("ref")
    named = isinstance(ref, str) and ref.startswith(MERGE_REQUEST)
    of_merge_request = named or pipeline.get("source") == MERGE_REQUEST_SOURCE
    identity = JobIdentity(
        proof=ProofKind.JOB_TOKEN,
        project_id=_read_number(pipeline, "project_id"),
        pipeline_id=_read_number(pipeline, "id"),
        job_id=_read_number(job, "id"),
        ref="" if of_merge_request else _read_ref(ref, by_tag=job.get("tag") is True),
        commit=_read_commit(pipeline.get("sha")),
        protected=None,
        merge_request=of_merge_request,
        environment=None,
        user=_read_user(user.get("username")),
    )
    return identity, make_line(str(job.get("status") or ""), 32)


def _get_object(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = raw.get(name)
    return found if isinstance(found, Mapping) else {}


def _read_number(raw: Mapping[str, Any], name: str) -> int:
    try:
        return parse_int(raw.get(name), least=1)
    except Unreadable:
        raise ProofRefused("ClaimsBroken", f"what GitLab says of the job has no {name}") from None


def _read_ref(ref: object, *, by_tag: bool) -> str:
    if not isinstance(ref, str) or not _REF.fullmatch(ref) or not ref.isprintable():
        raise ProofRefused("ClaimsBroken", "what GitLab says of the job has no name of a branch or tag")
    return f"{TAG if by_tag else BRANCH}{ref}"


def _read_commit(commit: object) -> str:
    if not isinstance(commit, str) or not is_commit(commit):
        raise ProofRefused("ClaimsBroken", "what GitLab says of the job has no commit")
    return commit


def _read_environment(name: object) -> str | None:
    """Return the name of an environment, exactly as it is: to GitLab ``oxygen`` and one with a space behind it are two,
    of which only the first may be protected. None for none, and for one that can't be shown as it is.
    """
    return name if isinstance(name, str) and name and name == make_line(name, 255) else None


def _read_user(user: object) -> str:
    return make_line(user, 255) if isinstance(user, str) else ""
