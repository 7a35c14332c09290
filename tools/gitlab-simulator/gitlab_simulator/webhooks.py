"""Sends events to webhooks, as GitLab does: https://docs.gitlab.com/user/project/integrations/webhook_events/

GitLab does not send an event again by itself. A hook that fails again and again gets none for a while, in the end none
at all: https://docs.gitlab.com/user/project/integrations/webhooks/#auto-disabled-webhooks
The signed form: https://gitlab.com/gitlab-org/gitlab/-/merge_requests/230944
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import aiohttp
from aiohttp import web

from .events.building import WANTED_BY, build_events
from .events.event import Event
from .matching import compute_is_below
from .model import Delivery, Hook
from .state import Changed, GitLabState

FAILURES_BEFORE_PAUSE, FAILURES_BEFORE_END = 4, 40
"""Failures in a row."""
MOST_AT_ONCE = 100
"""Events that are sent at the same time; a large GitLab has some dozens of threads for that, in several processes."""
ANSWER_LIMIT = 8 * 1024
"""Bytes of an answer that are kept."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 24 * 3600.0

EVENT_UUID = "X-Gitlab-Event-UUID"
cause: ContextVar[str] = ContextVar("cause", default="")
"""The EVENT_UUID of the request that is being answered; all events that it causes have the same.
Source: lib/gitlab/web_hooks/recursion_detection/uuid.rb"""


@web.middleware
async def note_cause(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Keep why a request was sent, for the events that it causes."""
    cause.set(request.headers.get(EVENT_UUID, ""))
    return await handler(request)


def note_outcome(hook: Hook, now: float, *, delivered: bool) -> None:
    """Count a delivery; from the fourth failure in a row the hook is disabled, twice as long each time."""
    if delivered:
        hook.failures, hook.disabled_until, hook.permanently_disabled = 0, None, False
        return
    hook.failures += 1
    if hook.failures >= FAILURES_BEFORE_END:
        hook.permanently_disabled = True
    elif hook.failures >= FAILURES_BEFORE_PAUSE:
        pause = FIRST_PAUSE_SECONDS * 2 ** (hook.failures - FAILURES_BEFORE_PAUSE)
        hook.disabled_until = now + min(LONGEST_PAUSE_SECONDS, pause)


def compute_is_disabled(hook: Hook, now: float) -> bool:
    """Return whether a hook gets no events now."""
    return hook.permanently_disabled or (hook.disabled_until is not None and now < hook.disabled_until)


class Webhooks:
    """Delivers events to subscribed webhooks; each delivery is a separate task, in no particular order."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._going = asyncio.Event()
        self._going.set()
        self._threads = asyncio.Semaphore(MOST_AT_ONCE)
        state.listeners.append(self._on_change)

    async def close(self) -> None:
        """Stop delivering."""
        for task in self._tasks:
            task.cancel()
        if self._session is not None:
            await self._session.close()

    def hold(self) -> None:
        """Send no event until ``release``, as where Sidekiq, which sends GitLab's webhooks, is down."""
        self._going.clear()

    def release(self) -> None:
        """Send the events that were held, MOST_AT_ONCE at the same time."""
        self._going.set()

    def _on_change(self, change: Changed) -> None:
        now, kinds = self._state.clock.now(), WANTED_BY.get(change.kind, frozenset())
        hooks = [one for one in self._state.hooks.values() if one.events & kinds and not compute_is_disabled(one, now)]
        if not hooks:
            return
        for event in build_events(self._state, change):
            path = self._state.projects[event.project_id].full_path
            wanted = [one for one in hooks if event.wanted_by in one.events]
            for hook in (one for one in wanted if self._covers(one, event.project_id, path)):
                self._start(hook, event)

    def _start(self, hook: Hook, event: Event) -> None:
        body = json.dumps(event.body).encode()
        task = asyncio.get_running_loop().create_task(self._deliver_in_time(hook, event.header, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver_in_time(self, hook: Hook, event: str, body: bytes) -> None:
        """Send an event, unless the hook was disabled since then (app/services/web_hook_service.rb, disabled?)."""
        await self._going.wait()
        async with self._threads:
            if not compute_is_disabled(hook, self._state.clock.now()):
                await self.deliver(hook, event, body)

    def _covers(self, hook: Hook, project_id: int, path: str) -> bool:
        if hook.scope == "project":
            return hook.owner_id == project_id
        return compute_is_below(path, self._state.groups[hook.owner_id].full_path)

    async def deliver(self, hook: Hook, event: str, body: bytes, idempotency_key: str = "") -> Delivery:
        """Send an event, even to a disabled hook; return the delivery. A resent event keeps its key."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        now = self._state.clock.now()
        headers = self._build_headers(hook, event, body, idempotency_key or str(uuid.uuid4()))
        delivery = Delivery(self._state.next_id("delivery"), hook.id, hook.url, event, body, headers, now)
        self._state.deliveries[delivery.id] = delivery
        timeout = aiohttp.ClientTimeout(total=self._state.settings.webhook_timeout_seconds)
        try:
            async with self._session.post(hook.url, data=body, headers=headers, timeout=timeout) as answer:
                delivery.answer = (await answer.content.read(ANSWER_LIMIT)).decode("utf-8", "replace")
                delivery.answer_headers = dict(answer.headers)
                delivery.status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            delivery.error = f"{type(error).__name__} {error}"
        delivery.seconds = self._state.clock.now() - now
        succeeded = delivery.status is not None and delivery.status < 400
        if succeeded or self._state.settings.auto_disable_hooks:
            note_outcome(hook, self._state.clock.now(), delivered=succeeded)
        return delivery

    def _build_headers(self, hook: Hook, event: str, body: bytes, identifier: str) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json", "User-Agent": "GitLab/19.4.0", "X-Gitlab-Event": event,
            EVENT_UUID: cause.get() or str(uuid.uuid4()), "X-Gitlab-Instance": self._state.external_url,
            "Idempotency-Key": identifier, "X-Gitlab-Webhook-UUID": str(uuid.uuid4()),
        }  # fmt: skip
        if hook.token:
            headers["X-Gitlab-Token"] = hook.token
        if hook.signing_token:
            stamp = str(int(self._state.clock.now()))
            message = f"{identifier}.{stamp}.".encode() + body
            digest = hmac.new(_parse_key(hook.signing_token), message, hashlib.sha256).digest()
            signature = f"v1,{base64.b64encode(digest).decode()}"
            headers |= {"webhook-id": identifier, "webhook-timestamp": stamp, "webhook-signature": signature}
        return headers


def _parse_key(token: str) -> bytes:
    return base64.b64decode(token.removeprefix("whsec_")) if token.startswith("whsec_") else token.encode()
