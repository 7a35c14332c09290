"""Read an answer: its body is unpacked and decoded within bounds, whatever it claims to be.

What a body takes in memory is bounded three times: by its bytes after unpacking, by the values in its JSON, each of
which takes up to 72 bytes whatever it takes on the wire, and by how many large ones are held at once by all clients.
"""

from __future__ import annotations

import asyncio
import functools
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bessemer.foreign import Unreadable, decode_json
from bessemer.gitlab.failures import explain_status, explain_unreadable
from bessemer.gitlab.protocol import GitLabUnavailable

SMALL_BYTES = 65536
"""What any answer may be; one that is larger waits for one of the places for large ones."""
LARGE_BYTES = 4 << 20
"""The most that is read of an answer, unpacked. A page of 100 jobs has about 500 KB."""
LARGE_AT_ONCE = 4
"""Large answers that are held at once, by all clients of the process."""
LARGE_SECONDS = 5.0
"""So long a large answer may be received once it has a place: a GitLab that drips would keep those of all others. One
over a slow line is asked for in pages that are no large answers."""
MOST_VALUES = 200_000
"""Values in an answer, by its commas and brackets: each takes up to 72 bytes of memory, whatever it takes on the wire.
A page of 100 jobs has about 12,000."""


class AnswerTooLarge(GitLabUnavailable):
    """An answer has more bytes or values than are read, or takes too long for that; a shorter page may be asked for."""


class AnswerTooSlow(AnswerTooLarge):
    """A large answer takes too long; another time it may not."""


@dataclass(frozen=True)
class Answer:
    """An answer that was read whole."""

    status: int
    headers: Mapping[str, str]
    data: Any
    """Its JSON; None where it is none, or nothing."""
    fault: Unreadable | None = None
    """Why its body can't be read as JSON."""

    def get_data(self) -> Any:
        """Return the JSON of an answer of success; None for one with status 204, which has nothing.

        Raises GitLab's errors (see :mod:`failures`) for any other, and GitLabUnavailable where it has no JSON.
        """
        if not 200 <= self.status < 300:
            raise explain_status(self.status, self.headers, self.data)
        if self.status == 204:
            return None
        if self.fault is not None:
            raise explain_unreadable(self.fault)
        return self.data


@dataclass(frozen=True)
class LargeAnswers:
    """The places for large answers, shared by all clients of the process."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))


async def read_answer(response: aiohttp.ClientResponse, large: LargeAnswers) -> Answer:
    """Read an answer whole; raises GitLabUnavailable where that can't be done, and AnswerTooLarge."""
    async with _read(response, large) as body:
        data, fault = None, None
        try:
            data = await _decode(body) if body else None
            fault = None if body else Unreadable("it is empty")
        except Unreadable as error:
            fault = error
    return Answer(response.status, response.headers, data, fault)


@asynccontextmanager
async def _read(response: aiohttp.ClientResponse, large: LargeAnswers) -> AsyncIterator[bytes]:
    """Read a body, unpacked, and hold a place for large answers for as long as it is worked with."""
    async with AsyncExitStack() as held:
        try:
            async with asyncio.timeout(None) as limit:
                body = await _receive(response, large, held, limit)
        except TimeoutError:
            response.close()
            if not limit.expired():
                raise
            raise AnswerTooSlow(
                f"more than {SMALL_BYTES >> 10} KiB, and not all of it in {LARGE_SECONDS:g} s"
            ) from None
        yield body


async def _receive(
    response: aiohttp.ClientResponse, large: LargeAnswers, held: AsyncExitStack, limit: asyncio.Timeout
) -> bytes:
    chunks, size = [], 0
    async for chunk in _unpack(response):
        if size <= SMALL_BYTES < size + len(chunk):
            await held.enter_async_context(large.places)
            limit.reschedule(asyncio.get_running_loop().time() + LARGE_SECONDS)
        size += len(chunk)
        if size > LARGE_BYTES:
            response.close()
            raise AnswerTooLarge(f"an answer of more than {LARGE_BYTES >> 20} MiB")
        chunks.append(chunk)
    return b"".join(chunks)


async def _unpack(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Iterate over a body, unpacked piece by piece: no piece is larger than what a large answer may be."""
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if len(response.headers.getall("Content-Encoding", ())) > 1 or coding not in ("", "identity", "gzip"):
        raise GitLabUnavailable("the answer is packed in a way that was not asked for")
    if coding != "gzip":
        async for chunk in response.content.iter_any():
            yield chunk
        return
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    async for chunk in response.content.iter_any():
        rest = chunk
        while rest and not unpacker.eof:
            try:
                piece = unpacker.decompress(rest, SMALL_BYTES)
            except zlib.error:
                raise GitLabUnavailable("the answer is not the gzip that it says it is") from None
            rest = unpacker.unconsumed_tail
            if piece:
                yield piece
        if unpacker.unused_data:
            raise GitLabUnavailable("the answer has something behind its gzip")
    if not unpacker.eof and (response.status != 204):
        raise GitLabUnavailable("the answer ends in the middle of its gzip")


async def _decode(body: bytes) -> Any:
    """Return the JSON of a body; a large one is read beside the event loop, and takes a fraction of a second."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise AnswerTooLarge(f"an answer of more than {MOST_VALUES} values")
    decode = functools.partial(decode_json, body, most_bytes=LARGE_BYTES)
    return await asyncio.to_thread(decode) if len(body) > SMALL_BYTES else decode()
