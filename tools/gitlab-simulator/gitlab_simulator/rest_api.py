"""The parts of GitLab's REST API that Bessemer and its users' scripts use: https://docs.gitlab.com/api/rest/"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from pydantic import ValidationError

from .access import authorize, find_job, find_token, open_project, refuse, refuse_parameter
from .jobs import NotAllowedError, cancel_job, play_job, retry_job
from .model import DEVELOPER, MAINTAINER, OWNER, REPORTER, Job, Project, Runner, User
from .paging import build_page
from .params import get_flag, read_params
from .runner_api import build_token
from .runners import RejectedError, create_runner, rotate_token, update_runner
from .spec import RunnerChanges, RunnerSpec
from .state import GitLabState
from .views import (
    build_access_token,
    build_group,
    build_job,
    build_manager,
    build_project,
    build_runner,
    build_runner_details,
    build_user,
)

BASE = "/api/v4"


class RestApi:
    """Routes that take an access token."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        project, job, runner = (
            f"{BASE}/projects/{{project}}",
            f"{BASE}/projects/{{project}}/jobs/{{job:\\d+}}",
            "runner:\\d+",
        )
        router.add_get(f"{BASE}/version", self.get_version)
        router.add_get(f"{BASE}/user", self.get_user)
        router.add_get(f"{BASE}/personal_access_tokens/self", self.get_token)
        router.add_get(project, self.get_project)
        router.add_get(f"{BASE}/groups/{{group}}", self.get_group)
        router.add_get(f"{BASE}/groups/{{group}}/projects", self.list_group_projects)
        router.add_get(f"{BASE}/job", self.get_own_job)
        router.add_get(f"{project}/jobs", self.list_jobs)
        router.add_get(job, self.get_job)
        router.add_get(f"{job}/trace", self.get_trace)
        for action in ("cancel", "retry", "play"):
            router.add_post(f"{job}/{{action:{action}}}", self.change_job)
        router.add_get(f"{project}/protected_{{kind:branches|tags}}", self.list_protected)
        router.add_post(f"{BASE}/user/runners", self.create_runner)
        router.add_get(f"{BASE}/runners/all", self.list_runners)
        router.add_get(f"{project}/runners", self.list_runners)
        router.add_get(f"{BASE}/groups/{{group}}/runners", self.list_runners)
        router.add_get(f"{BASE}/runners/{{{runner}}}", self.get_runner)
        router.add_put(f"{BASE}/runners/{{{runner}}}", self.update_runner)
        router.add_delete(f"{BASE}/runners/{{{runner}}}", self.delete_runner)
        router.add_get(f"{BASE}/runners/{{{runner}}}/managers", self.list_managers)
        router.add_post(f"{BASE}/runners/{{{runner}}}/reset_authentication_token", self.rotate_runner)

    async def get_version(self, request: web.Request) -> web.Response:
        """Return what this is."""
        authorize(self._state, request)
        return web.json_response({"version": "19.4.0-simulated", "revision": "0"})

    async def get_user(self, request: web.Request) -> web.Response:
        """Say whose token it is."""
        user = authorize(self._state, request)
        return web.json_response({**(build_user(self._state, user.id) or {}), "is_admin": user.admin})

    async def get_token(self, request: web.Request) -> web.Response:
        """Return what the request's token is: https://docs.gitlab.com/api/personal_access_tokens/#self-inform"""
        return web.json_response(build_access_token(find_token(self._state, request)))

    async def get_project(self, request: web.Request) -> web.Response:
        """Return a project."""
        project = self._get_project(request, REPORTER)
        return web.json_response(build_project(self._state, project))

    async def get_group(self, request: web.Request) -> web.Response:
        """Return a group."""
        user = authorize(self._state, request)
        group = self._state.find_group(unquote(request.match_info["group"]))
        if group is None or not self._state.compute_access(user, group.full_path):
            raise refuse(404, "404 Group Not Found")
        return web.json_response(build_group(self._state, group))

    async def list_group_projects(self, request: web.Request) -> web.Response:
        """List the projects of a group that the user may see: https://docs.gitlab.com/api/groups/#list-projects"""
        user = authorize(self._state, request)
        group = self._state.find_group(unquote(request.match_info["group"]))
        if group is None or not self._state.compute_access(user, group.full_path):
            raise refuse(404, "404 Group Not Found")
        below = request.query.get("include_subgroups") == "true"
        found = [
            project
            for _, project in sorted(self._state.projects.items())
            if project.full_path.startswith(f"{group.full_path}/")
            and (below or project.full_path.rpartition("/")[0] == group.full_path)
            and self._state.compute_access(user, project.full_path)
        ]
        return self._page(request, [build_project(self._state, project) for project in found])

    async def list_jobs(self, request: web.Request) -> web.Response:
        """List a project's jobs, those of some statuses if wanted."""
        project = self._get_project(request, REPORTER)
        scopes = request.query.getall("scope[]", []) + request.query.getall("scope", [])
        jobs = [job for job in self._state.list_project_jobs(project) if not job.retried]
        return self._page(
            request, [build_job(self._state, job) for job in jobs if not scopes or job.status.value in scopes]
        )

    async def get_job(self, request: web.Request) -> web.Response:
        """Return one job."""
        return web.json_response(build_job(self._state, self._get_job(request, REPORTER)))

    async def get_own_job(self, request: web.Request) -> web.Response:
        """Return the job whose token asks: https://docs.gitlab.com/api/jobs/#get-job-tokens-job"""
        job = find_job(self._state, request)
        if job is None:
            authorize(self._state, request)
            raise refuse(404, "404 Job Not Found")
        return web.json_response(build_job(self._state, job))

    async def get_trace(self, request: web.Request) -> web.Response:
        """Return a job's log."""
        return web.Response(body=bytes(self._get_job(request, REPORTER).trace), content_type="text/plain")

    async def change_job(self, request: web.Request) -> web.Response:
        """Cancel a job, try it again, or let a manual one begin."""
        job = self._get_job(request, DEVELOPER, "api")
        project, user = open_project(self._state, request, DEVELOPER, "api")
        params = await read_params(request)
        force = get_flag(params, "force")
        if (job.protected or force) and self._state.compute_access(user, project.full_path) < MAINTAINER:
            raise refuse(403, "403 Forbidden")
        try:
            match request.match_info["action"]:
                case "cancel":
                    cancel_job(self._state, job, force=force)
                case "retry":
                    job = retry_job(self._state, job, user)
                case _:
                    play_job(self._state, job, user, _parse_variables(params.get("job_variables_attributes")))
        except NotAllowedError as error:
            raise refuse(403, f"403 Forbidden - {error}") from error
        return web.json_response(build_job(self._state, job), status=201)

    async def list_protected(self, request: web.Request) -> web.Response:
        """List the rules for protected branches or tags."""
        project = self._get_project(request, DEVELOPER)
        branches = request.match_info["kind"] == "branches"
        return self._page(
            request, [{"name": rule} for rule in (project.protected_branches if branches else project.protected_tags)]
        )

    async def create_runner(self, request: web.Request) -> web.Response:
        """Create a runner."""
        user = authorize(self._state, request, "api", "create_runner")
        try:
            spec = RunnerSpec.model_validate(await read_params(request))
        except ValidationError as error:
            raise _refuse_value(error) from error
        self._check_owner(user, spec)
        try:
            runner = create_runner(self._state, spec)
        except RejectedError as error:
            raise refuse(400, f"400 Bad request - {error}") from error
        return web.json_response({"id": runner.id, **build_token(runner)}, status=201)

    async def list_runners(self, request: web.Request) -> web.Response:
        """List the runners of the instance, a group or a project."""
        user = authorize(self._state, request, "api", "read_api", "manage_runner")
        found: list[Runner] = list(self._state.runners.values())
        if "project" in request.match_info:
            project = self._get_project(request, MAINTAINER)
            found = [runner for runner in found if project.id in runner.project_ids]
        elif "group" in request.match_info:
            group = self._state.find_group(unquote(request.match_info["group"]))
            if group is None:
                raise refuse(404, "404 Group Not Found")
            found = [runner for runner in found if runner.group_id == group.id]
        elif not user.admin:
            raise refuse(403, "403 Forbidden")
        kind = request.query.get("type")
        return self._page(
            request, [build_runner(self._state, runner) for runner in found if kind in (None, runner.type.value)]
        )

    async def get_runner(self, request: web.Request) -> web.Response:
        """Return one runner."""
        return web.json_response(build_runner_details(self._state, self._get_runner(request)))

    async def update_runner(self, request: web.Request) -> web.Response:
        """Change a runner."""
        runner = self._get_runner(request)
        try:
            changes = RunnerChanges.model_validate(await read_params(request))
            update_runner(runner, changes.model_dump(exclude_unset=True))
        except ValidationError as error:
            raise _refuse_value(error) from error
        except RejectedError as error:
            raise refuse(400, f"400 Bad request - {error}") from error
        return web.json_response(build_runner_details(self._state, runner))

    async def delete_runner(self, request: web.Request) -> web.Response:
        """Delete a runner."""
        del self._state.runners[self._get_runner(request).id]
        return web.Response(status=204)

    async def list_managers(self, request: web.Request) -> web.Response:
        """List a runner's managers."""
        managers = self._get_runner(request).managers.values()
        return self._page(request, [build_manager(self._state, manager) for manager in managers])

    async def rotate_runner(self, request: web.Request) -> web.Response:
        """Replace a runner's token."""
        runner = self._get_runner(request)
        rotate_token(self._state, runner)
        return web.json_response(build_token(runner), status=201)

    def _page(self, request: web.Request, items: Sequence[dict[str, Any]]) -> web.Response:
        return build_page(request, self._state.external_url, items)

    def _get_project(self, request: web.Request, level: int, *scopes: str) -> Project:
        return open_project(self._state, request, level, *scopes)[0]

    def _get_job(self, request: web.Request, level: int, *scopes: str) -> Job:
        project = self._get_project(request, level, *scopes)
        job = self._state.jobs.get(int(request.match_info["job"]))
        if job is None or job.project_id != project.id:
            raise refuse(404, "404 Not found")
        return job

    def _get_runner(self, request: web.Request) -> Runner:
        user = authorize(self._state, request, "api", "manage_runner")
        runner = self._state.runners.get(int(request.match_info["runner"]))
        if runner is None:
            raise refuse(404, "404 Not found")
        paths = [self._state.projects[number].full_path for number in runner.project_ids]
        if runner.group_id is not None:
            paths.append(self._state.groups[runner.group_id].full_path)
        if not user.admin and all(self._state.compute_access(user, path) < MAINTAINER for path in paths):
            raise refuse(403, "403 Forbidden")
        return runner

    def _check_owner(self, user: User, spec: RunnerSpec) -> None:
        allowed = user.admin
        if spec.runner_type == "project_type":
            project = self._state.projects.get(spec.project_id or 0)
            allowed = project is not None and self._state.compute_access(user, project.full_path) >= MAINTAINER
        elif spec.runner_type == "group_type":
            group = self._state.groups.get(spec.group_id or 0)
            allowed = group is not None and self._state.compute_access(user, group.full_path) >= OWNER
        if not allowed:
            raise refuse(403, "403 Forbidden")


def _parse_variables(given: Any) -> dict[str, str]:
    """Raises a 400 for what is no list of keys and values."""
    try:
        return {str(one["key"]): str(one["value"]) for one in given or []}
    except (TypeError, KeyError):
        raise refuse_parameter("job_variables_attributes is invalid") from None


def _refuse_value(error: ValidationError) -> web.HTTPException:
    first = error.errors()[0]
    return refuse(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
