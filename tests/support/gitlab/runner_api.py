"""What gitlab-runner asks for: jobs with the long poll of Workhorse, logs with ranges, updates, its own identity.

Sources: https://docs.gitlab.com/api/runners/, lib/api/ci/runner.rb, workhorse/internal/builds/register.go
"""

from __future__ import annotations

import asyncio
import re
import secrets
import zlib
from typing import Any

from aiohttp import web

from .faults import Faults
from .jobs import finish_job
from .model import AT_RUNNER, Job, Project, Runner
from .queues import claim_job, heartbeat
from .stamps import ensure_stamp, read_stamp
from .state import Changed, GitLabState, compute_token

FAILURE_REASONS = (
    "unknown_failure", "script_failure", "runner_system_failure", "job_execution_timeout", "image_pull_failure",
    "runner_configuration_error", "runner_external_dependency_failure", "runner_interrupted", "job_canceled",
)  # fmt: skip
"""What a runner may give as a reason; it sends unknown_failure for any other."""


class RunnerApi:
    """The routes below /api/v4/jobs and /api/v4/runners that take a runner's or a job's token."""

    def __init__(self, state: GitLabState, faults: Faults) -> None:
        self._state = state
        self._faults = faults
        self._ticked: dict[int, asyncio.Event] = {}
        state.listeners.append(self._on_change)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        router.add_post("/api/v4/jobs/request", self.request_job)
        router.add_put("/api/v4/jobs/{id:\\d+}", self.update_job)
        router.add_patch("/api/v4/jobs/{id:\\d+}/trace", self.append_trace)
        router.add_post("/api/v4/jobs/{id:\\d+}/artifacts", self.upload_artifacts)
        router.add_post("/api/v4/runners/verify", self.verify)
        router.add_delete("/api/v4/runners/managers", self.delete_manager)
        router.add_delete("/api/v4/runners", self.delete_runner)
        router.add_post("/api/v4/runners/reset_authentication_token", self.reset_token)
        router.add_get("/api/v4/runners/router/discovery", self.discover)

    async def request_job(self, request: web.Request) -> web.Response:
        """Give a job, or say that there is none, at once or when the queue has changed."""
        body: dict[str, Any] = await request.json()
        token, last = str(body.get("token") or ""), body.get("last_update")
        runner = self._state.find_runner_by_token(token)
        if runner is not None and last and last == read_stamp(self._state, token):
            await self._hold(runner)
            return web.Response(status=204, headers={"Gitlab-Ci-Builds-Polling": "yes"})
        if not token:
            return web.json_response({"error": "token is missing"}, status=400)
        if runner is None:
            return web.json_response({"message": "403 Forbidden"}, status=403)
        info = body.get("info") or {}
        manager = heartbeat(self._state, runner, body.get("system_id"), info, request.remote or "")
        stamp = ensure_stamp(self._state, token)
        headers = {"X-GitLab-Last-Update": stamp}
        if runner.paused or last == stamp:
            return web.Response(status=204, headers=headers)
        transport = request.transport
        if not self._state.settings.claim_on_dropped_connection and (transport is None or transport.is_closing()):
            return web.Response(status=204)
        job = claim_job(self._state, runner, manager, f"{request.remote} {secrets.token_hex(4)}")
        if job is None:
            return web.Response(status=204, headers=headers)
        broken = self._faults.take_broken_answer()
        if broken is not None:
            return broken
        return web.json_response(self._build_payload(job, runner), status=201)

    async def update_job(self, request: web.Request) -> web.Response:
        """Take what a runner says of its job."""
        body: dict[str, Any] = await request.json()
        job = self._find_job(request, str(body.get("token") or ""))
        if job is None:
            return web.Response(status=403)
        job.updated_at = self._state.clock.now()
        state = body.get("state")
        if state == "running":
            return self._answer(job, 200)
        output = body.get("output") or {}
        if state in {"success", "failed"}:
            checksum = body.get("checksum") or output.get("checksum")
            if checksum and checksum != f"crc32:{zlib.crc32(bytes(job.trace)):08x}":
                return self._answer(job, 412)
            if self._state.settings.trace_pending_updates > 0:
                self._state.settings.trace_pending_updates -= 1
                return self._answer(job, 202)
            finish_job(
                self._state,
                job,
                success=state == "success",
                reason=body.get("failure_reason"),
                exit_code=body.get("exit_code"),
            )
        return self._answer(job, 200)

    async def append_trace(self, request: web.Request) -> web.Response:
        """Take a piece of a log, if it follows what is there."""
        job = self._find_job(request, "")
        if job is None:
            return web.Response(status=403)
        content = await request.read()
        found = re.fullmatch(r"(\d+)-(\d+)", request.headers.get("Content-Range", ""))
        if found is None:
            return web.json_response({"error": "400 Bad request - Missing header Content-Range"}, status=400)
        job.updated_at = self._state.clock.now()
        if int(found[1]) != len(job.trace):
            return web.Response(status=416, headers={"Range": f"0-{len(job.trace)}", "Job-Status": job.status})
        if job.first_trace_at is None and content:
            job.first_trace_at = self._state.clock.now()
        job.trace += content
        return self._answer(job, 202, Range=f"0-{len(job.trace)}")

    async def upload_artifacts(self, request: web.Request) -> web.Response:
        """Keep what a job has made."""
        job = self._find_job(request, "")
        if job is None:
            return web.Response(status=403)
        reader = await request.multipart()
        async for part in reader:
            if getattr(part, "name", "") == "file":
                content = await part.read(decode=False)  # type: ignore[union-attr]  # a file is never a part of parts
                kind = request.query.get("artifact_type", "archive")
                job.artifacts[kind] = (getattr(part, "filename", None) or "artifacts.zip", bytes(content))
        return web.json_response({}, status=201)

    async def verify(self, request: web.Request) -> web.Response:
        """Say whose token that is."""
        body: dict[str, Any] = await request.json()
        runner = self._state.find_runner_by_token(str(body.get("token") or ""))
        if runner is None:
            return web.json_response({"message": "403 Forbidden"}, status=403)
        heartbeat(self._state, runner, body.get("system_id"), body.get("info") or {}, request.remote or "")
        return web.json_response({"id": runner.id, "token": runner.token, "token_expires_at": None})

    async def delete_manager(self, request: web.Request) -> web.Response:
        """Forget a manager."""
        body: dict[str, Any] = await request.json()
        runner = self._state.find_runner_by_token(str(body.get("token") or ""))
        if runner is None:
            return web.json_response({"message": "403 Forbidden"}, status=403)
        if runner.managers.pop(str(body.get("system_id")), None) is None:
            return web.json_response({"message": "404 Not found"}, status=404)
        return web.Response(status=204)

    async def delete_runner(self, request: web.Request) -> web.Response:
        """Forget a runner."""
        body: dict[str, Any] = await request.json()
        runner = self._state.find_runner_by_token(str(body.get("token") or ""))
        if runner is None:
            return web.json_response({"message": "403 Forbidden"}, status=403)
        del self._state.runners[runner.id]
        return web.Response(status=204)

    async def reset_token(self, request: web.Request) -> web.Response:
        """Replace a runner's token by its own wish."""
        body: dict[str, Any] = await request.json()
        runner = self._state.find_runner_by_token(str(body.get("token") or ""))
        if runner is None:
            return web.json_response({"message": "403 Forbidden"}, status=403)
        runner.token = compute_token("glrt-")
        return web.json_response({"token": runner.token, "token_expires_at": None}, status=201)

    async def discover(self, _: web.Request) -> web.Response:
        """There is no job router."""
        return web.Response(status=501)

    async def _hold(self, runner: Runner) -> None:
        event = self._ticked.setdefault(runner.id, asyncio.Event())
        await self._state.clock.wait(event, self._state.clock.now() + self._state.settings.long_poll_seconds)

    def _on_change(self, change: Changed) -> None:
        if change.kind == "queue" and (event := self._ticked.pop(change.id, None)):
            event.set()

    def _find_job(self, request: web.Request, body_token: str) -> Job | None:
        job = self._state.jobs.get(int(request.match_info["id"]))
        token = request.headers.get("JOB-TOKEN") or body_token
        if job is None or job.token != token or job.status not in AT_RUNNER:
            return None
        return job

    def _answer(self, job: Job, status: int, **headers: str) -> web.Response:
        interval = str(self._state.settings.trace_update_interval)
        common = {"Job-Status": job.status.value, "X-GitLab-Trace-Update-Interval": interval}
        return web.Response(status=status, headers=common | headers)

    def _build_payload(self, job: Job, runner: Runner) -> dict[str, Any]:
        spec, project = job.spec, self._state.projects[job.project_id]
        pipeline = self._state.pipelines[job.pipeline_id]
        timeout = min(spec.timeout, runner.maximum_timeout or spec.timeout)
        steps = [{"name": "script", "script": [*spec.before_script, *spec.script], "timeout": timeout,
                  "when": "on_success", "allow_failure": False}]  # fmt: skip
        if spec.after_script:
            after = {"name": "after_script", "script": spec.after_script, "timeout": 300, "when": "always"}
            steps.append(after | {"allow_failure": True})
        payload: dict[str, Any] = {
            "id": job.id,
            "token": job.token,
            "allow_git_fetch": True,
            "job_info": {
                "name": job.name, "stage": job.stage, "pipeline_id": pipeline.id, "project_id": project.id,
                "project_name": project.full_path.rpartition("/")[2], "project_full_path": project.full_path,
            },
            "git_info": {
                "repo_url": f"{self._state.external_url}/{project.full_path}.git", "ref": pipeline.ref,
                "sha": pipeline.sha, "before_sha": "0" * 40, "ref_type": "tag" if pipeline.tag else "branch",
                "refspecs": [], "depth": 20, "protected": job.protected,
            },
            "runner_info": {"timeout": timeout},
            "variables": self._build_variables(job, project),
            "steps": steps,
            "image": {"name": spec.image} if isinstance(spec.image, str) else spec.image,
            "services": [{"name": one} if isinstance(one, str) else one for one in spec.services],
            "artifacts": _build_artifacts(spec.artifacts),
            "cache": spec.cache,
            "credentials": [],
            "dependencies": [],
            "features": {"trace_sections": True, "failure_reasons": list(FAILURE_REASONS)},
        }  # fmt: skip
        own: dict[str, Any] = spec.payload
        return payload | own

    def _build_variables(self, job: Job, project: Project) -> list[dict[str, Any]]:
        pipeline = self._state.pipelines[job.pipeline_id]
        own = {
            "CI": "true", "CI_JOB_ID": str(job.id), "CI_JOB_NAME": job.name, "CI_JOB_STAGE": job.stage,
            "CI_PIPELINE_ID": str(pipeline.id), "CI_PROJECT_ID": str(project.id),
            "CI_PROJECT_PATH": project.full_path, "CI_PROJECT_NAME": project.full_path.rpartition("/")[2],
            "CI_COMMIT_SHA": pipeline.sha, "CI_COMMIT_REF_NAME": pipeline.ref,
            "CI_SERVER_URL": self._state.external_url, "CI_API_V4_URL": f"{self._state.external_url}/api/v4",
            "GIT_STRATEGY": "none",
        }  # fmt: skip
        values = own | pipeline.variables | job.spec.variables
        hidden, in_files = set(job.spec.masked), set(job.spec.file_variables)
        variables: list[dict[str, Any]] = [
            {"key": key, "value": value, "public": key not in hidden, "masked": key in hidden, "file": key in in_files}
            for key, value in values.items()
        ]
        token = {"key": "CI_JOB_TOKEN", "value": job.token, "public": False, "masked": True, "file": False}
        return [*variables, token]


def _build_artifacts(spec: Any) -> list[dict[str, Any]]:
    if spec is None:
        return []
    common = {"when": spec.when, "expire_in": spec.expire_in, "name": spec.name}
    archive = {"paths": spec.paths, "exclude": spec.exclude, "untracked": spec.untracked,
               "artifact_type": "archive", "artifact_format": "zip"}  # fmt: skip
    reports = [{"paths": paths, "artifact_type": kind, "artifact_format": "gzip"}
               for kind, paths in spec.reports.items()]  # fmt: skip
    return [common | archive, *(common | report for report in reports)]
