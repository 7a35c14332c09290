"""The one way out to GitLab: every request of the operator to one goes through here, REST and GraphQL alike.

Anyone who may create a RunnerPool says where GitLab is, so what answers there may be anything, and many pools share
this process. So each request has a deadline for all of it (connecting, TLS, headers, body, redirects), answers are
bounded after they are unpacked, as are the head, what precedes it, and how many values the JSON holds; few large
answers are held at once in all. A redirect is followed to the same origin (scheme, host and port) only: also not
from http to https of one host, as the token would have gone out unencrypted first. Cookies are not kept. There are
no threads: what is cancelled or closed is over. (Names are looked up in threads, as the C library has it: see
:mod:`resolver`.)"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from bessemer.foreign import make_line
from bessemer.gitlab.address import FIELD, is_same_origin, make_origin
from bessemer.gitlab.answers import Answer, LargeAnswers, read_answer
from bessemer.gitlab.protocol import GitLabUnavailable
from bessemer.gitlab.resolver import OwnResolver

REST, GRAPHQL = "/api/v4", "/api/graphql"
REQUEST_SECONDS = 20.0
"""For one request as a whole. GitLab answers a page of jobs within a second; longer than this, and the next poll is the
better try."""
AT_ONCE = 8
"""Connections of one client side by side."""
HEAD_BYTES = 65536
"""Of an answer's head with all that comes before it, such as answers with status 1xx."""
MOST_REDIRECTS = 3
SHOWN = 160
"""Characters of a library's words that are shown."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Transport:
    """Requests to one GitLab, with one access token or none."""

    def __init__(self, base: URL, token: str | None, context: ssl.SSLContext, large: LargeAnswers) -> None:
        self.base = base
        self._token, self._context, self._large = token, context, large
        self._session: aiohttp.ClientSession | None = None

    async def fetch(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None, private: bool = True
    ) -> Answer:
        """Return what is answered, with any status but that of a redirect.

        ``path`` lies below the REST API, or is GRAPHQL, and is quoted already; ``private`` says whether the access
        token goes along. Raises GitLabUnavailable where there is no whole answer, or too much of it.
        """
        url = self._build_url(path if path == GRAPHQL else f"{REST}{path}")
        if query:
            url = URL(f"{url}?{urlencode(query)}", encoded=True)
        return await self._ask(method, url, body, self._build_headers() if private else {})

    async def fetch_public(self, path: str) -> Answer:
        """Return what GitLab publishes for all at a path below its own, such as ``/.well-known/...``; without a token.

        Raises GitLabUnavailable as fetch does.
        """
        return await self._ask("GET", self._build_url(path), None, {})

    async def fetch_as_job(self, path: str, job_token: str) -> Answer:
        """Return what is answered to a job at a path below the REST API. Raises GitLabUnavailable as fetch does.

        Source: https://docs.gitlab.com/ci/jobs/ci_job_token/
        """
        return await self._ask("GET", self._build_url(f"{REST}{path}"), None, {"JOB-TOKEN": job_token})

    async def close(self) -> None:
        """Close all connections; requests that are under way fail."""
        if self._session is not None:
            await self._session.close()

    def _build_url(self, place: str) -> URL:
        return self.base.with_path(f"{self.base.raw_path.rstrip('/')}{place}", encoded=True)

    def _build_headers(self) -> dict[str, str]:
        return {"PRIVATE-TOKEN": self._token} if self._token is not None else {}

    async def _ask(self, method: str, url: URL, body: Any, headers: Mapping[str, str]) -> Answer:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await self._follow(method, url, body, headers)
        except TimeoutError:
            raise GitLabUnavailable(f"no whole answer within {REQUEST_SECONDS:g} s") from None
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            raise GitLabUnavailable(f"no answer: {_explain(error)}") from error

    async def _follow(self, method: str, url: URL, body: Any, headers: Mapping[str, str]) -> Answer:
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._send(method, url, body, headers)
            if answer.status not in _REDIRECTS:
                return answer
            url = self._find_target(method, answer, url)
        raise GitLabUnavailable(f"more than {MOST_REDIRECTS} redirects, one after the other")

    def _find_target(self, method: str, answer: Answer, url: URL) -> URL:
        """Return where a redirect leads; raises GitLabUnavailable unless that is on the same GitLab."""
        try:
            target = url.join(URL(answer.headers.get("Location", ""), encoded=True))
            same, origin = is_same_origin(url, target), make_origin(target)
        except (ValueError, TypeError):
            raise GitLabUnavailable(f"{answer.status}: a redirect to what is no URL") from None
        if not same:
            text = f"{make_origin(url)} redirects to {origin}, where no token is sent"
            raise GitLabUnavailable(f"{text}: if that is your GitLab, set {FIELD} to it")
        if method != "GET" and answer.status not in (307, 308):
            raise GitLabUnavailable(f"{answer.status}: GitLab wants a {method} repeated elsewhere: is {FIELD} right?")
        return target

    async def _send(self, method: str, url: URL, body: Any, headers: Mapping[str, str]) -> Answer:
        if self._session is None:
            self._session = open_session(self._context)
        async with self._session.request(method, url, headers=headers, json=body, allow_redirects=False) as response:
            return await read_answer(response, self._large)


def open_session(context: ssl.SSLContext) -> aiohttp.ClientSession:
    """Open the session of one client; the only one in which the operator speaks with a GitLab."""
    connector = aiohttp.TCPConnector(limit=AT_ONCE, ssl=context, keepalive_timeout=30, resolver=OwnResolver())
    # aiohttp bounds one head, not the number of heads with status 1xx; it has no other place to say so.
    connector._factory = functools.partial(_BoundedHandler, loop=asyncio.get_running_loop())  # type: ignore[assignment]
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "bessemer"},
        auto_decompress=False,
        trust_env=True,  # a proxy that the administrator has set for the operator
        raise_for_status=False,
    )


class _BoundedHandler(ResponseHandler):
    """aiohttp's side of a connection, that breaks off where an answer does not begin within bounds."""

    _head = 0

    def set_response_params(self, **arguments: Any) -> None:
        self._head = 0
        super().set_response_params(**arguments)

    def feed_data(self, data: Any, size: int = 0) -> None:
        if data[0].code >= 200:
            self._head = -1
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        if self._head >= 0:
            self._head += len(data)
        super().data_received(data)
        if self._head > HEAD_BYTES and self.transport is not None:
            self.set_exception(aiohttp.ClientPayloadError(f"no answer in the first {HEAD_BYTES} bytes"))
            self.transport.abort()


def _explain(error: Exception) -> str:
    """Return what went wrong below HTTP, without the objects of the libraries in between and without what was
    answered.
    """
    said = next((explain(error) for kind, explain in _EXPLANATIONS if isinstance(error, kind)), None)
    return make_line(said, SHOWN) if said else type(error).__name__


def _explain_connecting(error: Any) -> str:
    number = error.os_error.errno or 0  # those of the resolver are negative, and say what they mean themselves
    said = f"[Errno {number}] {os.strerror(number)}" if number > 0 else error.os_error.strerror
    return f"{error.host}:{error.port}: {said or 'not reached'}"


_EXPLANATIONS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Callable[[Any], str | None]], ...] = (
    (
        aiohttp.ClientConnectorCertificateError,
        lambda error: f"certificate verify failed: {getattr(error.certificate_error, 'verify_message', '')}",
    ),
    (aiohttp.ClientConnectorSSLError, lambda error: f"TLS: {error.os_error.strerror or 'handshake failed'}"),
    (aiohttp.ClientConnectorError, _explain_connecting),
    (aiohttp.ServerDisconnectedError, lambda _: "the connection was closed before an answer"),
    (aiohttp.ClientHttpProxyError, lambda error: f"the operator's proxy answers {error.status}"),
    (HttpProcessingError, lambda _: "what came is no HTTP"),
    (
        (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, ValueError),
        lambda _: "what came is no whole HTTP answer",
    ),
    (OSError, lambda error: error.strerror),
)
"""By the first kind that fits."""
