"""Sends job events to webhooks, as GitLab does: https://docs.gitlab.com/user/project/integrations/webhook_events/

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
from typing import Any

import aiohttp

from .clock import build_time
from .matching import compute_is_below
from .model import Delivery, Hook, Job
from .state import Changed, GitLabState

FAILURES_BEFORE_PAUSE, FAILURES_BEFORE_END = 4, 40
"""Failures in a row."""
ANSWER_LIMIT = 8 * 1024
"""Bytes of an answer that are kept."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 24 * 3600.0


def note_outcome(hook: Hook, now: float, *, delivered: bool) -> None:
    """Count a delivery; from the fourth failure in a row the hook is disabled, twice as long each time."""
    if delivered:
        hook.failures, hook.disabled_until = 0, None
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
        self._tasks: set[asyncio.Task[Delivery]] = set()
        self._session: aiohttp.ClientSession | None = None
        state.listeners.append(self._on_change)

    async def close(self) -> None:
        """Stop delivering."""
        for task in self._tasks:
            task.cancel()
        if self._session is not None:
            await self._session.close()

    def _on_change(self, change: Changed) -> None:
        if change.kind != "job":
            return
        job = self._state.jobs[change.id]
        path = self._state.projects[job.project_id].full_path
        for hook in self._state.hooks.values():
            wanted = "job_events" in hook.events and not compute_is_disabled(hook, self._state.clock.now())
            if wanted and self._covers(hook, job.project_id, path):
                body = json.dumps(self._build_job_event(job)).encode()
                task = asyncio.get_running_loop().create_task(self.deliver(hook, "Job Hook", body))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

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
        note_outcome(hook, self._state.clock.now(), delivered=succeeded)
        return delivery

    def _build_headers(self, hook: Hook, event: str, body: bytes, identifier: str) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json", "User-Agent": "GitLab/19.4.0", "X-Gitlab-Event": event,
            "X-Gitlab-Event-UUID": str(uuid.uuid4()), "X-Gitlab-Instance": self._state.external_url,
            "Idempotency-Key": identifier, "X-Gitlab-Webhook-UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, hook.url)),
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

    def _build_job_event(self, job: Job) -> dict[str, Any]:
        project, pipeline = self._state.projects[job.project_id], self._state.pipelines[job.pipeline_id]
        runner = self._state.runners.get(job.runner_id or 0)
        event: dict[str, Any] = {
            "object_kind": "build", "ref": pipeline.ref, "tag": pipeline.tag, "sha": pipeline.sha,
            "build_id": job.id, "build_name": job.name, "build_stage": job.stage, "build_status": job.status.value,
            "build_created_at": build_time(job.created_at), "build_started_at": build_time(job.started_at),
            "build_finished_at": build_time(job.finished_at), "build_allow_failure": job.spec.allow_failure,
            "build_failure_reason": job.failure_reason or "unknown_failure", "pipeline_id": pipeline.id,
            "project_id": project.id, "project_name": project.full_path.replace("/", " / "),
            "project": {"id": project.id, "path_with_namespace": project.full_path},
            "runner": {"id": runner.id, "description": runner.description, "runner_type": runner.type.value,
                       "tags": list(runner.tags)} if runner else None,
        }  # fmt: skip
        return event | ({"tag_list": list(job.tags)} if self._state.settings.job_event_tags else {})


def _parse_key(token: str) -> bytes:
    return base64.b64decode(token.removeprefix("whsec_")) if token.startswith("whsec_") else token.encode()
