"""The operator's endpoint for jobs, as a client of it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from pydantic import ValidationError

from bessemer.api.jobprogress import MOST_BYTES, JobProgress, LogQuery, Refusal
from bessemer.cli.job.builder import Refused
from bessemer.cli.job.settings import CA_FILE, JobSettings
from bessemer.errors import Invalid, Retry
from bessemer.foreign import Unreadable, decode_json, make_line

REQUEST_SECONDS = 30.0


class OperatorClient:
    """Requests to one trigger as one job."""

    def __init__(self, session: aiohttp.ClientSession, settings: JobSettings) -> None:
        self._session = session
        self._settings = settings

    async def build(self) -> JobProgress:
        """Ask for a build; the same job gets the same one again. Raises Refused, Retry."""
        wanted = self._settings.wanted
        body = {"manifest": wanted.manifest, "cluster": wanted.cluster}
        return await self._send("POST", "", {name: value for name, value in body.items() if value})

    async def show(self, record: str, log: LogQuery | None = None) -> JobProgress:
        """Ask how far a build is, and for lines of a phase's log. Raises Refused, Retry."""
        return await self._send("GET", f"/{record}", query=log.to_query() if log is not None else None)

    async def abort(self, record: str) -> JobProgress:
        """Abort a build; one that is aborted already is fine. Raises Refused, Retry."""
        return await self._send("DELETE", f"/{record}")

    async def _send(self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None) -> JobProgress:
        url = f"{self._settings.url}/job{path}"
        try:
            async with self._session.request(
                method, url, params=query, json=body, headers=dict(self._settings.headers), allow_redirects=False
            ) as answer:
                data = await answer.content.read(MOST_BYTES + 1)
                while len(data) <= MOST_BYTES and (more := await answer.content.read(MOST_BYTES)):
                    data += more
                return _parse(answer.status, data, answer.headers.get("Retry-After", ""))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retry("NoAnswer", f"the operator does not answer: {make_line(str(error), 200)}") from error


@asynccontextmanager
async def open_client(settings: JobSettings) -> AsyncIterator[OperatorClient]:
    """Yield a client; raises Invalid for a bundle of authorities that can't be read."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
    except (OSError, ssl.SSLError):
        raise Invalid("InvalidSetting", f"no certificates in PEM can be read from the file of {CA_FILE}") from None
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context),
        timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
        trust_env=True,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield OperatorClient(session, settings)


def _parse(status: int, data: bytes, retry_after: str) -> JobProgress:
    try:
        value = decode_json(data, most_bytes=MOST_BYTES)
        if 200 <= status < 300:
            return JobProgress.model_validate(value)
        refusal = Refusal.model_validate(value)
    except (Unreadable, ValidationError):
        raise Retry("NoAnswer", f"{status}, and no answer of the operator: is the URL right?") from None
    if status in (429, 503):
        after = float(retry_after) if retry_after.isdecimal() and len(retry_after) < 4 else None
        raise Retry(refusal.reason or "NoAnswer", refusal.message, after)
    raise Refused(refusal.reason or "Refused", f"{refusal.reason}: {refusal.message}")
