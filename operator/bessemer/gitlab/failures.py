"""What goes wrong with a request to GitLab, in our words: python-gitlab's errors and those below it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from gitlab.exceptions import GitlabError, GitlabHttpError, GitlabParsingError

from bessemer.gitlab.limits import parse_wait
from bessemer.gitlab.protocol import GitLabNotFound, GitLabRefused, GitLabRejected, GitLabUnavailable, RateLimited


def raise_when_asked_to_wait(response: requests.Response, *_: Any, **__: Any) -> None:
    """Leave python-gitlab's own waiting out, and keep what GitLab says of when to come again. A hook of requests."""
    if response.status_code not in (429, 503):
        return
    # requests calls hooks before it reads the body: a connection left in the middle of an answer is never closed.
    response.close()
    wait = parse_wait(response.headers)
    if response.status_code == 429:
        raise RateLimited("GitLab has had too many requests", wait)
    raise GitLabUnavailable("503: GitLab is overloaded, or closed for maintenance", wait)


@contextmanager
def translated() -> Iterator[None]:
    """Turn python-gitlab's errors into ours; what the token is stands in none of them."""
    try:
        yield
    except GitlabHttpError as error:
        raise _translate(error.response_code or 0, str(error.error_message)[:512]) from error
    except GitlabParsingError as error:
        raise GitLabUnavailable("the answer makes no sense: is the URL that of GitLab itself?") from error
    except GitlabError as error:
        raise _translate(error.response_code or 0, str(error.error_message)[:512]) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # Its text may be a piece of the answer, and so a token.
        raise GitLabUnavailable(f"the answer is not of the documented form ({type(error).__name__})") from error
    except requests.RequestException as error:
        raise GitLabUnavailable(_explain(error)) from error


def is_hidden(error: GitlabHttpError) -> bool:
    """Tell whether something is not there, or not for this token to see: a project, or a part of one."""
    return error.response_code in (403, 404)


def _explain(error: requests.RequestException) -> str:
    """Say what went wrong below HTTP, without the objects of the libraries in between."""
    inner = error.args[0] if error.args else error
    cause = str(getattr(inner, "reason", None) or inner or type(error).__name__)
    return "no answer: " + re.sub(r"^HTTPS?Connection(Pool)?\(.*?\): ", "", cause)[:512]


def _translate(status: int, message: str) -> Exception:
    message = f"{status} {message.removeprefix(f'{status} ')}"
    if status == 401:
        return GitLabRefused(f"GitLab does not know the token: {message}")
    if status == 403:
        return GitLabRefused(f"the token may not do that: {message}")
    if status == 404:
        return GitLabNotFound(message)
    if status in (400, 409, 422):
        return GitLabRejected(message)
    return GitLabUnavailable(message)
