"""What goes wrong with a request to GitLab, in our words. Pure.

An answer is GitLab's own where it is JSON of the form that GitLab gives its refusals:
``{"message": ...}``, ``{"error": ..., "error_description": ...}`` or, of GraphQL, ``{"errors": [{"message": ...}]}``.
What anything else in between says (a proxy, a captive portal, a firewall) says nothing of tokens, projects and runners,
and none of it is shown: it may be a page of a service that the author of the URL may not read.
Source: https://docs.gitlab.com/api/rest/troubleshooting/ and, for 401,
https://gitlab.com/gitlab-org/gitlab/-/blob/master/lib/api/api_guard.rb
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from bessemer.errors import BessemerError
from bessemer.foreign import Unreadable, make_line
from bessemer.gitlab.limits import parse_wait
from bessemer.gitlab.protocol import (
    AccessTokenRefused,
    GitLabNotFound,
    GitLabRefused,
    GitLabRejected,
    GitLabUnavailable,
    RateLimited,
)

_MOVED = "moved projects"
"""In GitLab's words for whatever is written to the old path of a project, which can still be read there by redirects.
Source: find_project! in lib/api/helpers.rb of gitlab-org/gitlab"""
SHOWN = 120
"""Characters of what GitLab says that are shown."""
NOT_GITLAB = "not in GitLab's own form: is it GitLab that answers at this URL, or a proxy or login page before it?"


def explain_status(status: int, headers: Mapping[str, str], body: Any) -> BessemerError:
    """Return the error for an answer that is no success; ``body`` is its JSON, or None where it is none."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited("GitLab has had too many requests", parse_wait(headers))
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return GitLabUnavailable("503: GitLab is overloaded, or closed for maintenance", parse_wait(headers))
    said = find_message(status, body)
    if status >= 500 or said is None:
        return GitLabUnavailable(_name_status(status) if status >= 500 else f"{status}, {NOT_GITLAB}")
    return _explain_refusal(status, said, body)


def _explain_refusal(status: int, said: str, body: Any) -> BessemerError:
    shown = make_line(f"{status} {said.removeprefix(f'{status} ')}", SHOWN)
    if status == HTTPStatus.UNAUTHORIZED:
        return AccessTokenRefused(f"{_explain_token(body)}: {shown}")
    if status == HTTPStatus.FORBIDDEN:
        return GitLabRefused(f"the token may not do that: {shown}")
    if status == HTTPStatus.METHOD_NOT_ALLOWED and _MOVED in said:
        return GitLabNotFound(f"the project was renamed or moved, and takes nothing at its old path: {shown}")
    return _BY_STATUS.get(status, GitLabUnavailable)(shown)


def find_message(status: int, body: Any) -> str | None:
    """Return what GitLab says, of any length; None where the answer is not in GitLab's own form.

    Its refusals with 401, 403 and 404 begin with that number, or have a code of OAuth with a description.
    """
    if not isinstance(body, dict):
        return None
    if isinstance(body.get("errors"), list):
        return explain_errors(body["errors"])
    error, described, message = body.get("error"), body.get("error_description"), body.get("message")
    if isinstance(error, str):
        return described if isinstance(described, str) and described else error
    said = _flatten(message)
    numbered = status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
    return said if said is not None and (numbered or said.startswith(str(int(status)))) else None


def explain_errors(errors: list[Any]) -> str:
    """Return what GraphQL says is wrong."""
    said = [one["message"] for one in errors[:4] if isinstance(one, dict) and isinstance(one.get("message"), str)]
    return make_line("; ".join(said) or "GraphQL reports an error without a message", SHOWN)


def is_token_refusal(status: int, body: Any) -> bool:
    """Return whether the answer is GitLab's own refusal of a runner token, with the text from its source code.

    A firewall or proxy may answer with the same status, and GitLab itself for an address that it does not let in; that
    must not cost a runner its token. So a 403 has no reason behind it, or that the runner's owner is gone.
    Sources: ``authenticate_runner!`` and ``POST /runners/verify`` in
    https://gitlab.com/gitlab-org/gitlab/-/blob/master/lib/api/ci/helpers/runner.rb and .../lib/api/ci/runner.rb
    """
    said = body.get("message") if isinstance(body, dict) else None
    if not isinstance(said, str):
        return False
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return "orphaned" in said.lower()
    return status == HTTPStatus.FORBIDDEN and said in ("403 Forbidden", "403 Forbidden - Runner is orphaned")


def explain_unreadable(error: Unreadable) -> GitLabUnavailable:
    """Return the error for an answer of another form than GitLab documents; its text has nothing of the answer."""
    return GitLabUnavailable(f"the answer is not of the documented form ({error}): is the URL that of GitLab itself?")


def _explain_token(body: Mapping[str, Any]) -> str:
    """Return what is wrong with an access token. GitLab tells expired and revoked ones from those that it
    never gave.
    """
    text = str(body.get("error_description") or "").lower()
    if "expired" in text:
        return "the access token has expired"
    return "the access token was revoked" if "revoked" in text else "GitLab does not know the token"


def _name_status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _flatten(message: Any) -> str | None:
    """Return a message that is a text, a list of them, or what is wrong by field, as one text."""
    if isinstance(message, str):
        return message
    if isinstance(message, list):
        return _join(message)
    if isinstance(message, dict):
        return "; ".join(f"{field}: {_flatten(said) or 'wrong'}" for field, said in list(message.items())[:4])
    return None


def _join(parts: Iterable[Any]) -> str | None:
    return "; ".join(part for part in list(parts)[:4] if isinstance(part, str)) or None


_BY_STATUS: Mapping[int, Callable[[str], BessemerError]] = {
    HTTPStatus.BAD_REQUEST: GitLabRejected,
    HTTPStatus.NOT_FOUND: GitLabNotFound,
    HTTPStatus.CONFLICT: GitLabRejected,
    HTTPStatus.UNPROCESSABLE_ENTITY: GitLabRejected,
}
