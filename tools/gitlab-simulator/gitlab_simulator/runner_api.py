"""The API for gitlab-runner: jobs with the long poll of Workhorse, logs with ranges, updates, the runner's identity.

Sources: https://docs.gitlab.com/api/runners/, lib/api/ci/runner.rb, workhorse/internal/builds/register.go
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any

from aiohttp import web

from .access import refuse
from .clock import build_time
from .faults import Faults
from .jobs import finish_job
from .model import AT_RUNNER, Job, Runner
from .payload import build_payload
from .queues import claim_job, heartbeat
from .reports import WrongReportError, parse_dotenv
from .runners import compute_token_is_valid, rotate_token
from .stamps import ensure_stamp, read_stamp
from .state import Changed, GitLabState
from .traces import append_trace, compute_trace_is_whole, parse_range

RATE_SECONDS = 60
"""Rate limits count by the minute."""


class RunnerApi:
    """The routes below /api/v4/jobs and /api/v4/runners that take a runner's or a job's token."""

    def __init__(self, state: GitLabState, faults: Faults) -> None:
        self._state = state
        self._faults = faults
        self._ticked: dict[str, asyncio.Event] = {}
        self._rates: dict[str, tuple[int, int]] = {}
        state.listeners.append(self._on_change)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        router.add_post("/api/v4/jobs/request", self.request_job)
        router.add_put("/api/v4/jobs/{id:\\d+}", self.update_job)
        router.add_patch("/api/v4/jobs/{id:\\d+}/trace", self.append_trace)
        router.add_post("/api/v4/jobs/{id:\\d+}/artifacts", self.upload_artifacts)
        router.add_get("/api/v4/jobs/{id:\\d+}/artifacts", self.download_artifacts)
        router.add_post("/api/v4/runners/verify", self.verify)
        router.add_delete("/api/v4/runners/managers", self.delete_manager)
        router.add_delete("/api/v4/runners", self.delete_runner)
        router.add_post("/api/v4/runners/reset_authentication_token", self.reset_token)
        router.add_get("/api/v4/runners/router/discovery", self.discover)

    async def request_job(self, request: web.Request) -> web.Response:
        """Return a job, or 204 without one, at once or when the queue has changed."""
        body = await _read(request)
        token, last = str(body.get("token") or ""), body.get("last_update")
        if token and last and self._state.settings.long_poll_seconds and last == read_stamp(self._state, token):
            await self._hold(token)
            return web.Response(status=204, headers={"Gitlab-Ci-Builds-Polling": "yes"})
        settings = self._state.settings
        if (limited := self._limit(f"runner {token}", settings.runner_requests_per_minute)) is not None:
            return limited
        if not token:
            return web.json_response({"error": "token is missing"}, status=400)
        runner = self._find_runner(token)
        if runner is None:
            return _forbid()
        if len(str(body.get("system_id") or "")) > 64:
            return web.json_response({"error": "system_id is too long (maximum is 64 characters)"}, status=400)
        info = body.get("info") or {}
        manager = heartbeat(self._state, runner, body.get("system_id"), info, request.remote or "")
        stamp = ensure_stamp(self._state, token)
        headers = {"X-GitLab-Last-Update": stamp}
        if runner.paused or last == stamp:
            return web.Response(status=204, headers=headers)
        transport = request.transport
        if not settings.claim_on_dropped_connection and (transport is None or transport.is_closing()):
            return web.Response(status=204)
        job = claim_job(self._state, runner, manager, f"{request.remote} {secrets.token_hex(4)}")
        if job is None:
            return web.Response(status=204, headers=headers)
        broken = self._faults.take_broken_answer()
        if broken is not None:
            return broken
        return web.json_response(build_payload(self._state, job, runner), status=201)

    async def update_job(self, request: web.Request) -> web.Response:
        """Process a runner's update of its job."""
        body = await _read(request)
        job = self._get_job(request, str(body.get("token") or ""))
        job.updated_at = self._state.clock.now()
        state = body.get("state")
        if state not in {"success", "failed"}:
            return self._answer(job, 200)
        if self._state.settings.trace_pending_updates > 0 and body.get("output"):
            self._state.settings.trace_pending_updates -= 1
            return self._answer(job, 202)
        if not compute_trace_is_whole(job, body):
            return self._answer(job, 412)
        reason, code = body.get("failure_reason"), body.get("exit_code")
        finish_job(self._state, job, success=state == "success", reason=reason, exit_code=code)
        return self._answer(job, 200)

    async def append_trace(self, request: web.Request) -> web.Response:
        """Append a piece of a log if it continues the existing one."""
        job = self._get_job(request, "")
        content = await request.read()
        found = parse_range(request.headers.get("Content-Range"))
        if found is None:
            return web.json_response({"error": "400 Bad request - Missing header Content-Range"}, status=400)
        appended = append_trace(job, *found, content, self._state.clock.now())
        return self._answer(job, appended.status, Range=f"0-{appended.size}")

    async def upload_artifacts(self, request: web.Request) -> web.Response:
        """Store the artifacts of a job."""
        job = self._get_job(request, "")
        reader = await request.multipart()
        async for part in reader:
            if getattr(part, "name", "") == "file":
                content = await part.read(decode=False)  # type: ignore[union-attr]  # a file is never a part of parts
                kind = request.query.get("artifact_type", "archive")
                if kind == "dotenv":
                    _check_dotenv(bytes(content))
                job.artifacts[kind] = (getattr(part, "filename", None) or "artifacts.zip", bytes(content))
        return web.json_response({}, status=201)

    async def download_artifacts(self, request: web.Request) -> web.Response:
        """Return the artifacts of a job to a job that depends on it and has its token."""
        job = self._state.jobs.get(int(request.match_info["id"]))
        token = request.headers.get("JOB-TOKEN") or request.query.get("token", "")
        if job is None or job.token != token or "archive" not in job.artifacts:
            return web.json_response({"message": "404 Not found"}, status=404)
        name, content = job.artifacts["archive"]
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return web.Response(body=content, content_type="application/zip", headers=headers)

    async def verify(self, request: web.Request) -> web.Response:
        """Say whose token that is."""
        body = await _read(request)
        runner = self._find_runner(str(body.get("token") or ""))
        if runner is None:
            return _forbid()
        heartbeat(self._state, runner, body.get("system_id"), body.get("info") or {}, request.remote or "")
        return web.json_response({"id": runner.id, **build_token(runner)})

    async def delete_manager(self, request: web.Request) -> web.Response:
        """Delete a runner manager."""
        body = await _read(request)
        runner = self._find_runner(str(body.get("token") or ""))
        if runner is None:
            return _forbid()
        system_id = str(body.get("system_id"))
        if runner.managers.pop(system_id, None) is None:
            return web.json_response({"message": "404 Not found"}, status=404)
        runner.forgotten.append((system_id, self._state.clock.now()))
        return web.Response(status=204)

    async def delete_runner(self, request: web.Request) -> web.Response:
        """Delete a runner."""
        body = await _read(request)
        runner = self._find_runner(str(body.get("token") or ""))
        if runner is None:
            return _forbid()
        del self._state.runners[runner.id]
        return web.Response(status=204)

    async def reset_token(self, request: web.Request) -> web.Response:
        """Reset a runner's token at its own request."""
        body = await _read(request)
        runner = self._find_runner(str(body.get("token") or ""))
        if runner is None:
            return _forbid()
        rotate_token(self._state, runner)
        return web.json_response(build_token(runner), status=201)

    async def discover(self, _: web.Request) -> web.Response:
        """There is no job router."""
        return web.Response(status=501)

    async def _hold(self, token: str) -> None:
        """Wait until the stamp of a token changes, or for the duration of a long poll."""
        event = self._ticked.setdefault(token, asyncio.Event())
        await self._state.clock.wait(event, self._state.clock.now() + self._state.settings.long_poll_seconds)

    def _on_change(self, change: Changed) -> None:
        if change.kind == "queue" and (event := self._ticked.pop(self._state.runners[change.id].token, None)):
            event.set()

    def _find_runner(self, token: str) -> Runner | None:
        runner = self._state.find_runner_by_token(token)
        return runner if compute_token_is_valid(runner, self._state.clock.now()) else None

    def _get_job(self, request: web.Request, body_token: str) -> Job:
        """Return the job; raises a 404 if it does not exist, a 403 if it has another token or is not running."""
        job = self._state.jobs.get(int(request.match_info["id"]))
        if job is None:
            raise web.HTTPNotFound(text='{"message":"404 Not found"}', content_type="application/json")
        if job.token != (request.headers.get("JOB-TOKEN") or body_token):
            raise web.HTTPForbidden(text='{"message":"403 Forbidden"}', content_type="application/json")
        limited = self._limit(f"job {job.id}", self._state.settings.job_requests_per_minute)
        if limited is not None:
            raise web.HTTPTooManyRequests(text=limited.text, headers=limited.headers)
        if job.status not in AT_RUNNER:
            text = '{"message":"403 Forbidden - Job is not running"}'
            headers = {"Job-Status": job.status.value, "Content-Type": "application/json"}
            raise web.HTTPForbidden(text=text, headers=headers)
        return job

    def _limit(self, who: str, per_minute: int) -> web.Response | None:
        """Count a request; return the refusal if there were too many within this minute of the clock."""
        now = self._state.clock.now()
        minute = int(now // RATE_SECONDS)
        began, count = self._rates.get(who, (minute, 0))
        count = count + 1 if began == minute else 1
        self._rates[who] = (minute, count)
        if count <= per_minute:
            return None
        left = max(1, int((minute + 1) * RATE_SECONDS - now))
        return web.Response(status=429, text="Retry later\n", headers={"Retry-After": str(left)})

    def _answer(self, job: Job, status: int, **headers: str) -> web.Response:
        interval = str(self._state.settings.trace_update_interval)
        common = {"Job-Status": job.status.value, "X-GitLab-Trace-Update-Interval": interval}
        return web.Response(status=status, headers=common | headers)


def build_token(runner: Runner) -> dict[str, Any]:
    """Return a runner's token as GitLab answers it."""
    return {"token": runner.token, "token_expires_at": build_time(runner.token_expires_at)}


def _check_dotenv(content: bytes) -> None:
    """Raises a 400 for a report that GitLab does not take."""
    try:
        parse_dotenv(content)
    except WrongReportError as error:
        raise refuse(400, f"400 Bad request - {error}") from error


def _forbid() -> web.Response:
    return web.json_response({"message": "403 Forbidden"}, status=403)


async def _read(request: web.Request) -> dict[str, Any]:
    """Raises a 400 for what is no JSON object."""
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text='{"error":"body is invalid"}', content_type="application/json")
    return body
