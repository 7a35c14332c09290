"""Bodies of requests are read in pieces, within a size and a time: who sends one slowly holds no more than a piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError

from bessemer.errors import Invalid

BODY_SECONDS = 8.0
"""For a whole request, answer included: GitLab gives a webhook up after 10 s.
Source: https://docs.gitlab.com/user/project/integrations/webhooks/"""

LINGER_SECONDS = 2.0
LINGER_BYTES = 32 * 1024 * 1024
"""For the rest of a body after an early answer."""


class BodyRefused(Invalid):
    """The body is not taken: ``status`` is what is answered, the reason what is counted."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason, f"answered with {status}")
        self.status = status


def check_length(request: web.Request, most: int) -> None:
    """Refuse a body that says to be longer than ``most`` bytes, before any of it is read; raises BodyRefused."""
    length = request.content_length
    if length is not None and length > most:
        raise BodyRefused(413, "TooLarge")


async def iterate_body(request: web.Request, most: int, until: float) -> AsyncIterator[bytes]:
    """Yield the pieces of a body, unpacked where it is compressed, until a moment of the loop's clock.

    Raises BodyRefused: 413 for more than ``most`` bytes, counted after they are unpacked; 408 where it is not there in
    time; 400 where it is broken off or not what its headers say.
    """
    check_length(request, most)
    read = 0
    while True:
        try:
            # Around each read, not around the loop: a deadline must not fire in what the caller does between two.
            async with asyncio.timeout_at(until):
                piece = await request.content.readany()
        except TimeoutError as error:
            raise BodyRefused(408, "TooSlow") from error
        except (web.RequestPayloadError, HttpProcessingError, OSError) as error:
            raise BodyRefused(400, "BrokenBody") from error
        if not piece:
            return
        read += len(piece)
        if read > most:
            raise BodyRefused(413, "TooLarge")
        yield piece


async def read_body(request: web.Request, most: int, until: float) -> bytes:
    """Return a whole body of at most ``most`` bytes; raises BodyRefused as :func:`iterate_body` does."""
    return b"".join([piece async for piece in iterate_body(request, most, until)])


def is_packed(request: web.Request) -> bool:
    """Return whether the body was compressed when it was sent; aiohttp has unpacked what is read of it."""
    return request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() not in ("", "identity")


async def answer_at_once(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """Send an answer before the body is read, and end the connection.

    The rest of the body is read for a while and thrown away: a connection that is closed with bytes unread is reset,
    and the sender would not see the answer. aiohttp does that too, but logs the error of a broken body as an error of
    the operator.
    """
    answer.force_close()
    try:
        await answer.prepare(request)
        await answer.write_eof()
        async for _ in iterate_body(request, LINGER_BYTES, asyncio.get_running_loop().time() + LINGER_SECONDS):
            pass
    except (OSError, BodyRefused):
        pass  # the sender has gone, or sends for too long
    request.protocol.force_close()
    return answer
