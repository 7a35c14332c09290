"""Tokens by which a job proves to others what it is, and the keys by which they are checked.

Source: https://docs.gitlab.com/ci/secrets/id_token_authentication/, lib/gitlab/ci/{jwt,jwt_v2}.rb,
https://openid.net/specs/openid-connect-discovery-1_0.html
"""

from __future__ import annotations

import uuid
from typing import Any

from .events.parts import build_user_email
from .model import Job, Pipeline, Project
from .state import GitLabState

EARLY_SECONDS = 5
"""A token is valid from so long before it is made."""


def build_discovery(url: str) -> dict[str, Any]:
    """Return what a client finds at ``/.well-known/openid-configuration``."""
    return {
        "issuer": url,
        "authorization_endpoint": f"{url}/oauth/authorize",
        "token_endpoint": f"{url}/oauth/token",
        "jwks_uri": f"{url}/oauth/discovery/keys",
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat"],
    }


def build_id_tokens(state: GitLabState, job: Job, seconds: int) -> dict[str, str]:
    """Return the tokens that a job asks for, by the names of their variables; they are valid for so long."""
    return {
        name: state.keys.sign(build_claims(state, job, seconds) | {"aud": wanted.aud})
        for name, wanted in job.spec.id_tokens.items()
    }


def build_claims(state: GitLabState, job: Job, seconds: int) -> dict[str, Any]:
    """Return what a token says of a job, but for whom it is meant; all numbers but times and the runner's are texts."""
    pipeline, project = state.pipelines[job.pipeline_id], state.projects[job.project_id]
    source, ref = _find_source(state, pipeline, project)
    ref_type, now = "tag" if pipeline.tag else "branch", int(state.clock.now())
    return {
        "jti": str(uuid.uuid4()),
        "iss": state.external_url,
        "iat": now,
        "nbf": now - EARLY_SECONDS,
        "exp": now + seconds,
        "sub": f"project_path:{source.full_path}:ref_type:{ref_type}:ref:{ref}",
        **_build_project_claims(state, source),
        **_build_user_claims(state, job, source),
        **{f"job_{name}": value for name, value in _build_project_claims(state, project).items()},
        "pipeline_id": str(pipeline.id),
        "pipeline_source": pipeline.source,
        "job_id": str(job.id),
        "ref": ref,
        "ref_type": ref_type,
        "ref_path": f"refs/{'tags' if pipeline.tag else 'heads'}/{ref}",
        "ref_protected": str(job.protected).lower(),
        **_build_environment_claims(state, job),
        "runner_id": job.runner_id,
        "runner_environment": "self-hosted",
        "sha": pipeline.sha,
        "project_visibility": source.visibility,
        "ci_config_ref_uri": f"{_get_host(state)}/{project.full_path}//.gitlab-ci.yml@refs/heads/{ref}",
        "ci_config_sha": pipeline.sha,
    }


def _find_source(state: GitLabState, pipeline: Pipeline, project: Project) -> tuple[Project, str]:
    """Where the code is from: for the pipeline of a merge request, the source project and branch."""
    merge_request = state.find_merge_request(pipeline.merge_request_id)
    if merge_request is None:
        return project, pipeline.ref
    return state.projects[merge_request.source_project_id], merge_request.source_branch


def _build_project_claims(state: GitLabState, project: Project) -> dict[str, str]:
    path = project.full_path.rpartition("/")[0]
    namespace = state.find_group(path)
    return {
        "namespace_id": str(namespace.id if namespace else ""),
        "namespace_path": path,
        "project_id": str(project.id),
        "project_path": project.full_path,
    }


def _build_user_claims(state: GitLabState, job: Job, project: Project) -> dict[str, str]:
    user = state.users[state.get_job_user_id(job) or 1]
    levels = {10: "guest", 20: "reporter", 30: "developer", 40: "maintainer", 50: "owner"}
    return {
        "user_id": str(user.id),
        "user_login": user.username,
        "user_email": build_user_email(user),
        "user_access_level": levels.get(state.compute_access(user, project.full_path), ""),
    }


def _build_environment_claims(state: GitLabState, job: Job) -> dict[str, str]:
    wanted = job.spec.environment
    if wanted is None:
        return {}
    environment = state.projects[job.project_id].environments[wanted.name]
    return {
        "environment": environment.name,
        "environment_protected": "false",
        "deployment_tier": environment.tier,
        "environment_action": wanted.action,
    }


def _get_host(state: GitLabState) -> str:
    return state.external_url.partition("://")[2]
