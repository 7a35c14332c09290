"""Who asks, and whether the access token may: https://docs.gitlab.com/api/rest/authentication/"""

from __future__ import annotations

import json

from aiohttp import web

from .model import User
from .state import GitLabState

_KINDS: dict[int, type[web.HTTPException]] = {
    400: web.HTTPBadRequest,
    401: web.HTTPUnauthorized,
    403: web.HTTPForbidden,
    404: web.HTTPNotFound,
}


def refuse(status: int, message: str) -> web.HTTPException:
    """Give GitLab's way to say no, to be raised."""
    return _KINDS[status](text=json.dumps({"message": message}), content_type="application/json")


def authorize(state: GitLabState, request: web.Request, *scopes: str) -> User:
    """Give the user of the request's access token, which needs one of the scopes; none given: to read is enough.

    Raises a 401 for no token that is known and valid, a 403 for one without any of the scopes.
    """
    headers = request.headers
    value = headers.get("PRIVATE-TOKEN") or headers.get("Authorization", "").removeprefix("Bearer ")
    token = state.find_token(value or request.query.get("private_token", ""))
    now = state.clock.now()
    if token is None or token.revoked or (token.expires_at is not None and token.expires_at <= now):
        raise refuse(401, "401 Unauthorized")
    token.last_used_at = now
    if not token.scopes & set(scopes or ("api", "read_api")):
        body = {
            "error": "insufficient_scope",
            "error_description": "The request requires higher privileges than provided by the access token.",
            "scope": " ".join(scopes or ("api", "read_api")),
        }
        raise web.HTTPForbidden(text=json.dumps(body), content_type="application/json")
    return state.users[token.user_id]
