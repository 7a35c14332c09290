"""Who asks, and whether the access token may: https://docs.gitlab.com/api/rest/authentication/"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from .model import AccessToken, Job, Project, User
from .state import GitLabState


class Refusal(web.HTTPException):
    """An answer of any status whose body is JSON."""

    def __init__(self, status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self.status_code = status
        super().__init__(text=json.dumps(body), content_type="application/json", headers=headers)


def refuse(status: int, message: str | list[str] | dict[str, Any]) -> web.HTTPException:
    """Return GitLab's way to say no, to be raised."""
    return Refusal(status, {"message": message})


def refuse_parameter(said: str, status: int = 400) -> web.HTTPException:
    """Return GitLab's way to say that a parameter is wrong, such as ``ref is empty``, to be raised."""
    return Refusal(status, {"error": said})


def find_token(state: GitLabState, request: web.Request) -> AccessToken:
    """Return the request's access token, whatever its scopes are. Raises a 401 for none that is known and valid.

    Source of what it says: https://gitlab.com/gitlab-org/gitlab/-/blob/master/lib/api/api_guard.rb
    """
    headers = request.headers
    value = headers.get("PRIVATE-TOKEN") or headers.get("Authorization", "").removeprefix("Bearer ")
    token = state.find_token(value or request.query.get("private_token", ""))
    now = state.clock.now()
    if token is None:
        raise refuse(401, "401 Unauthorized")
    if token.revoked:
        raise _refuse_token("Token was revoked. You have to re-authorize from the user.")
    if token.expires_at is not None and token.expires_at <= now:
        raise _refuse_token("Token is expired. You can either do re-authorization or token refresh.")
    token.last_used_at = now
    return token


def _refuse_token(why: str) -> web.HTTPException:
    body = {"error": "invalid_token", "error_description": why}
    return Refusal(401, body)


def authorize(state: GitLabState, request: web.Request, *scopes: str) -> User:
    """Return the user of the request's access token, which needs one of the scopes; none given: to read is enough.

    Raises a 401 for no token that is known and valid, a 403 for one without any of the scopes.
    """
    token = find_token(state, request)
    if not token.scopes & set(scopes or ("api", "read_api")):
        body = {
            "error": "insufficient_scope",
            "error_description": "The request requires higher privileges than provided by the access token.",
            "scope": " ".join(scopes or ("api", "read_api")),
        }
        raise Refusal(403, body)
    return state.users[token.user_id]


def open_project(
    state: GitLabState, request: web.Request, level: int, *scopes: str, jobs: bool = False
) -> tuple[Project, User]:
    """Return the project of the request's path, and who asks; without scopes: those for reading will do.

    ``jobs``: the token of a job that runs will do, too, for its project; it has the rights of the user who started it.
    Raises a 404 for a project that the user may not see, a 403 for one where the user's access level is too low.
    """
    job = find_job(state, request) if jobs else None
    if job is not None:
        user = state.users[state.get_job_user_id(job) or 1]
    else:
        user = authorize(state, request, *(scopes or ("api", "read_api")))
    project = state.find_project(unquote(request.match_info["project"]))
    access = state.compute_access(user, project.full_path) if project else 0
    if project is None or not access:
        raise refuse(404, "404 Project Not Found")
    if job is not None and job.project_id != project.id:
        source = state.projects[job.project_id].full_path
        said = f"Authentication by CI/CD job token not allowed from {source} to {project.full_path}."
        raise refuse(403, f"403 Forbidden - {said}")
    if access < level:
        raise refuse(403, "403 Forbidden")
    return project, user


def find_job(state: GitLabState, request: web.Request) -> Job | None:
    """Find the job whose token a request has: https://docs.gitlab.com/api/rest/authentication/#job-tokens"""
    headers = request.headers
    bearer = headers.get("Authorization", "").removeprefix("Bearer ")
    return state.find_running_job(headers.get("JOB-TOKEN") or bearer or request.query.get("job_token", ""))
