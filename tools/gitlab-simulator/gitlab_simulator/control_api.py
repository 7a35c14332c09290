"""The control API, by which a test sets up the simulator, creates jobs, switches faults on and reads the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from .faults import Fault, Faults
from .jobs import create_pipeline, give_up_stuck_jobs
from .merge_requests import land_push
from .model import Hook, Job
from .pushes import Push, compute_changes
from .seeding import add_commit, apply_seed
from .spec import CommitSpec, PipelineSpec, Seed
from .state import GitLabState, NotThereError
from .webhooks import Webhooks

BASE = "/-/simulator"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Model = TypeVar("_Model", bound=BaseModel)


class HookSpec(BaseModel):
    """A webhook; unless it says otherwise, for job events."""

    model_config = ConfigDict(extra="forbid")

    project: str = ""
    group: str = ""
    url: str
    token: str = ""
    signing_token: str = ""
    events: list[str] = ["job_events"]


class ProjectCommitsSpec(BaseModel):
    """Commits, and the project that they are for."""

    model_config = ConfigDict(extra="forbid")

    project: str
    commits: list[CommitSpec]
    pushed_by: str = ""
    """User whose pushes bring them, one each, which webhooks are told and merge requests follow; empty: they are just
    there."""


class ControlApi:
    """The routes below /-/simulator."""

    def __init__(self, state: GitLabState, faults: Faults, webhooks: Webhooks) -> None:
        self._state = state
        self._faults = faults
        self._webhooks = webhooks
        self.requests: Counter[str] = Counter()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_post(f"{BASE}/seed", self.seed)
        router.add_post(f"{BASE}/pipelines", self.create_pipeline)
        router.add_post(f"{BASE}/commits", self.add_commits)
        router.add_get(f"{BASE}/jobs", self.list_jobs)
        router.add_get(f"{BASE}/runners", self.list_runners)
        router.add_post(f"{BASE}/hooks", self.create_hook)
        router.add_get(f"{BASE}/deliveries", self.list_deliveries)
        router.add_post(f"{BASE}/deliveries/{{what:hold|release}}", self.hold_deliveries)
        router.add_get(f"{BASE}/requests", self.count_requests)
        router.add_post(f"{BASE}/faults", self.switch_fault)
        router.add_delete(f"{BASE}/faults", self.clear_faults)
        router.add_post(f"{BASE}/settings", self.change_settings)
        router.add_post(f"{BASE}/keys/rotate", self.rotate_keys)
        router.add_post(f"{BASE}/keys/sign", self.sign)
        router.add_post(f"{BASE}/clock/advance", self.advance)
        router.add_post(f"{BASE}/clock/{{what:freeze|resume}}", self.stop_clock)

    @web.middleware
    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the requests of all clients except the tests."""
        if not request.path.startswith("/-/"):
            resource = request.match_info.route.resource
            self.requests[f"{request.method} {resource.canonical if resource else request.path}"] += 1
        return await handler(request)

    async def seed(self, request: web.Request) -> web.Response:
        """Create what a seed file would; answers the values of the access tokens by their names."""
        try:
            return web.json_response(apply_seed(self._state, await _read(request, Seed)), status=201)
        except NotThereError as error:
            raise web.HTTPNotFound(text=f"{error}: there is none") from error

    async def add_commits(self, request: web.Request) -> web.Response:
        """Create commits; answers their names."""
        spec = await _read(request, ProjectCommitsSpec)
        try:
            names = [self._add_commit(spec, one) for one in spec.commits]
        except NotThereError as error:
            raise web.HTTPNotFound(text=f"{error} not found") from error
        return web.json_response({"ids": names}, status=201)

    def _add_commit(self, spec: ProjectCommitsSpec, one: CommitSpec) -> str:
        project = self._state.get_project(spec.project)
        before = project.repository.refs
        commit = add_commit(self._state, project, one)
        if spec.pushed_by:
            user = self._state.get_user(spec.pushed_by)
            land_push(self._state, Push(project, user.id, compute_changes(before, project.repository.refs)))
        return commit.sha

    async def create_pipeline(self, request: web.Request) -> web.Response:
        """Create a pipeline; answers the numbers of its jobs."""
        try:
            pipeline = create_pipeline(self._state, await _read(request, PipelineSpec))
        except NotThereError as error:
            raise web.HTTPNotFound(text=f"{error} not found") from error
        return web.json_response({"id": pipeline.id, "jobs": pipeline.job_ids}, status=201)

    async def list_jobs(self, _: web.Request) -> web.Response:
        """Return everything about all jobs."""
        return web.json_response([_build_job(job) for job in self._state.jobs.values()])

    async def list_runners(self, _: web.Request) -> web.Response:
        """Return everything about all runners."""
        return web.json_response(
            [
                {
                    "id": runner.id,
                    "token": runner.token,
                    "description": runner.description,
                    "tags": runner.tags,
                    "managers": sorted(runner.managers),
                    "forgotten": runner.forgotten,
                }
                for runner in self._state.runners.values()
            ]
        )

    async def create_hook(self, request: web.Request) -> web.Response:
        """Create a webhook for job events."""
        spec = await _read(request, HookSpec)
        group = self._state.find_group(spec.group) if spec.group else None
        owner: Any = group or self._state.get_project(spec.project)
        hook = Hook(
            self._state.next_id("hook"), "group" if group else "project", owner.id, spec.url, spec.token,
            spec.signing_token, frozenset(spec.events), self._state.clock.now(),
        )  # fmt: skip
        self._state.hooks[hook.id] = hook
        return web.json_response({"id": hook.id}, status=201)

    async def list_deliveries(self, _: web.Request) -> web.Response:
        """Return the results of webhook deliveries."""
        return web.json_response(
            [
                {
                    "id": one.id,
                    "hook": one.hook_id,
                    "status": one.status,
                    "error": one.error,
                    "at": one.at,
                    "seconds": one.seconds,
                    "idempotency_key": one.idempotency_key,
                    "body": one.body.decode(),
                }
                for one in self._state.deliveries.values()
            ]
        )

    async def hold_deliveries(self, request: web.Request) -> web.Response:
        """Send no webhooks, or those that were held."""
        if request.match_info["what"] == "hold":
            self._webhooks.hold()
        else:
            self._webhooks.release()
        return web.Response(status=204)

    async def count_requests(self, _: web.Request) -> web.Response:
        """Return the number of requests of each route."""
        return web.json_response(dict(self.requests))

    async def switch_fault(self, request: web.Request) -> web.Response:
        """Switch a fault on."""
        self._faults.active.append(await _read(request, Fault))
        return web.Response(status=204)

    async def clear_faults(self, _: web.Request) -> web.Response:
        """Switch all faults off, and let requests that hang go on; answers how often faults have struck."""
        self._faults.clear()
        return web.json_response({"struck": self._faults.struck})

    async def change_settings(self, request: web.Request) -> web.Response:
        """Change settings by their names."""
        for name, value in (await request.json()).items():
            if not hasattr(self._state.settings, name):
                raise web.HTTPBadRequest(text=f"{name}: no such setting")
            setattr(self._state.settings, name, value)
        return web.Response(status=204)

    async def rotate_keys(self, request: web.Request) -> web.Response:
        """Sign tokens of jobs with a new key; with ``keep``, the old ones are still told."""
        self._state.keys.rotate(keep=bool((await request.json()).get("keep")))
        return web.Response(status=204)

    async def sign(self, request: web.Request) -> web.Response:
        """Sign any claims, as a forger could who has the key; answers the token."""
        return web.json_response({"token": self._state.keys.sign(await request.json())})

    async def advance(self, request: web.Request) -> web.Response:
        """Let time jump ahead by seconds."""
        self._state.clock.advance(float((await request.json())["seconds"]))
        give_up_stuck_jobs(self._state)
        return web.Response(status=204)

    async def stop_clock(self, request: web.Request) -> web.Response:
        """Stop the clock, or let it continue from its current time."""
        if request.match_info["what"] == "freeze":
            self._state.clock.freeze()
        else:
            self._state.clock.resume()
        return web.Response(status=204)


def _build_job(job: Job) -> dict[str, Any]:
    return {
        "id": job.id, "project_id": job.project_id, "name": job.name, "status": job.status.value, "tags": job.tags,
        "claims": job.claims,
        "runner": job.runner_id, "system_id": job.system_id, "claimed_by": job.claimed_by,
        "failure_reason": job.failure_reason, "exit_code": job.exit_code, "retried": job.retried,
        "created_at": job.created_at, "pending_at": job.pending_at, "started_at": job.started_at,
        "first_trace_at": job.first_trace_at, "finished_at": job.finished_at,
        "trace": job.trace.decode("utf-8", "replace"),
        "artifacts": {kind: name for kind, (name, _) in job.artifacts.items()},
    }  # fmt: skip


async def _read(request: web.Request, model: type[_Model]) -> _Model:
    try:
        return model.model_validate(await request.json())
    except ValidationError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
