"""Lines of a watch, and answers, of the API server: whatever tenants have stored, reading goes on.

``json.loads`` raises RecursionError at about 1,000 levels, where the API server takes 10,000, and refuses what is not
UTF-8; so no object of a stream may be decoded by it before it has passed here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from bessemer.foreign import Unreadable, decode_cut

MOST_LINE_BYTES = 64 << 20
"""Of one object of a watch; etcd takes 1.5 MiB, which may be six times as long where it is written in escapes."""
GONE: dict[str, Any] = {"type": "ERROR", "object": {"code": 410}}
"""The event after which a watch is restarted with a list. Source:
https://kubernetes.io/docs/reference/using-api/api-concepts/#410-gone-responses"""
_log = logging.getLogger(__name__)


async def iterate_lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines of an answer, without their ends and without empty ones.

    Raises ClientPayloadError for a line that is too long. (aiohttp's own iteration raises ValueError at 128 KiB.)
    """
    pieces: list[bytes] = []
    length = 0
    async for chunk in content.iter_any():
        *ended, rest = chunk.split(b"\n")
        for end in ended:
            line = b"".join((*pieces, end))
            pieces, length = [], 0
            if line.strip():
                yield line
        if rest:
            pieces.append(rest)
            length += len(rest)
        if length > MOST_LINE_BYTES:
            raise aiohttp.ClientPayloadError(f"a line of a watch is longer than {MOST_LINE_BYTES} bytes")
    if pieces:
        yield b"".join(pieces)


def parse_event(line: bytes) -> dict[str, Any]:
    """Return an event of a watch with an object that has metadata, or GONE for a line that is none: a list then shows
    what was missed. The watch is also restarted after an error event in the stream.
    """
    try:
        event = decode_cut(line)
    except Unreadable as error:
        _log.warning("a line of a watch is passed over: %s", error)
        return GONE
    if not isinstance(event, dict) or not isinstance(event.get("type"), str) or not _has_metadata(event.get("object")):
        _log.warning("a watch is restarted after an event without an object")
        return GONE
    if event.get("type") == "ERROR":
        _log.info("a watch is restarted: the API server has ended it with an error")
        return GONE
    return event


class BoundedResponse(aiohttp.ClientResponse):
    """An answer whose JSON can be decoded by who knows nothing of depth, such as kopf: ``aiohttp.ClientSession`` takes
    it as its ``response_class``.

    kopf reads lists and failures by :meth:`json`, and watches by ``content.iter_chunked`` and ``json.loads``.
    Source: https://github.com/nolar/kopf/blob/1.45.2/kopf/_cogs/clients/api.py
    """

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Pass the lines of the answer to :func:`parse_event`, if it is the answer of a watch."""
        await super().start(connection)
        if self.url.query.get("watch") == "true" and self.status < 400:
            self.content = _EventReader(self.content)  # type: ignore[assignment]  # in all that is asked of it
        return self

    async def json(self, **_: Any) -> Any:
        """Return the answer, of a list only items with metadata; raises ClientPayloadError for what is not JSON."""
        body = await self.read()
        try:
            value = decode_cut(body)
        except Unreadable as error:
            if self.status >= 400:  # kopf takes its text then
                raise json.JSONDecodeError(str(error), "", 0) from None
            raise aiohttp.ClientPayloadError(f"{self.method} {self.url.path}: {error}") from None
        if isinstance(value, dict) and isinstance(value.get("items"), list):
            value["items"] = [item for item in value["items"] if _has_metadata(item)]
        return value


class _EventReader:
    """The content of a watch: for each line of it, one that any decoder can read."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, _most: int) -> AsyncIterator[bytes]:
        async for line in iterate_lines(self._content):
            yield json.dumps(parse_event(line)).encode() + b"\n"


def _has_metadata(raw: Any) -> bool:
    return isinstance(raw, dict) and isinstance(raw.get("metadata"), dict)
