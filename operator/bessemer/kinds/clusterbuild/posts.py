"""Receives the progress posts of running phases."""

from __future__ import annotations

import asyncio
import hmac

from aiohttp import web
from pydantic import ValidationError

from bessemer.api.phase_contract import Progress
from bessemer.engine.kind import Wake
from bessemer.engine.loop import Key
from bessemer.engine.memory import Memories
from bessemer.foreign import Unreadable, decode_json
from bessemer.kinds.clusterbuild.progress import Memory
from bessemer.web.body import BODY_SECONDS, BodyRefused, answer_at_once, read_body
from bessemer.web.connections import mark_proven

PATH = "/v1/progress/{namespace}/{build}"
BODY_LIMIT = 64 * 1024
"""Maximum bytes of one progress post; the progress of a thousand grouped nodes is far smaller."""
FOLD_SECONDS = 1.0
"""Minimum time between two updates of a build's status from progress posts."""


class ProgressPosts:
    """Receives progress posts: checks the build's token, keeps the latest post, wakes the build at a limited rate."""

    def __init__(self, memories: Memories[Memory], wake: Wake) -> None:
        self._memories = memories
        self._wake = wake
        self._due: set[Key] = set()

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Handle one post: 401 for a wrong token or an impossible build, 400 for an unreadable post.

        Nothing is read from the API server for it: each pass over a build stores its token.
        """
        key = (request.match_info["namespace"], request.match_info["build"])
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self._is_right(key, token.strip()):
            return web.Response(status=401)
        try:
            body = await read_body(request, BODY_LIMIT, asyncio.get_running_loop().time() + BODY_SECONDS)
        except BodyRefused as refused:
            return await answer_at_once(request, web.Response(status=refused.status))
        try:
            progress = Progress.model_validate(decode_json(body, most_bytes=BODY_LIMIT))
        except (Unreadable, ValidationError):
            return web.Response(status=400)
        memory = self._memories.find(key)
        if memory is not None:
            memory.progress = progress
        if key not in self._due:
            self._due.add(key)
            asyncio.get_running_loop().call_later(FOLD_SECONDS, self._fold, key)
        mark_proven(request)
        return web.Response(status=204)

    def _fold(self, key: Key) -> None:
        self._due.discard(key)
        self._wake(key)

    def _is_right(self, key: Key, token: str) -> bool:
        memory = self._memories.find(key)
        known = memory.token if memory is not None else None
        # aiohttp decodes headers as UTF-8, whatever they contain.
        given = token.encode(errors="surrogateescape")
        return known is not None and hmac.compare_digest(known.encode(), given)
