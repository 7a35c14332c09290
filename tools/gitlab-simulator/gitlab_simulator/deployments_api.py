"""Deployments and environments: https://docs.gitlab.com/api/deployments/, https://docs.gitlab.com/api/environments/"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from .access import open_project, refuse, refuse_parameter
from .clock import build_time
from .deployments import STATES, NewDeployment, NoStepError, change_status, deploy, ensure_environment
from .model import DEVELOPER, MAINTAINER, REPORTER, Deployment, Environment, Project
from .paging import build_page
from .params import get_flag, get_text, read_params
from .state import GitLabState
from .views import build_job, build_user

PROJECT = "/api/v4/projects/{project}"
EVENTS = {"running": "run", "success": "succeed", "failed": "drop", "canceled": "cancel"}


class DeploymentsApi:
    """Routes that take an access token, or a job's token."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        one = rf"{PROJECT}/deployments/{{deployment:\d+}}"
        router.add_get(f"{PROJECT}/deployments", self.list_deployments)
        router.add_post(f"{PROJECT}/deployments", self.create_deployment)
        router.add_get(one, self.get_deployment)
        router.add_put(one, self.update_deployment)
        router.add_delete(one, self.delete_deployment)
        environment = rf"{PROJECT}/environments/{{environment:\d+}}"
        router.add_get(f"{PROJECT}/environments", self.list_environments)
        router.add_post(f"{PROJECT}/environments", self.create_environment)
        router.add_get(environment, self.get_environment)
        router.add_put(environment, self.update_environment)
        router.add_delete(environment, self.delete_environment)
        router.add_post(f"{environment}/stop", self.stop_environment)

    async def list_deployments(self, request: web.Request) -> web.Response:
        """List those of a project, the oldest first; ``environment`` and ``status`` choose some."""
        project, _ = open_project(self._state, request, REPORTER, jobs=True)
        found = list(project.deployments.values())
        for name in ("environment", "status"):
            found = [one for one in found if request.query.get(name) in (None, getattr(one, name))]
        found.sort(key=lambda one: one.id, reverse=request.query.get("sort") == "desc")
        return build_page(request, self._state.external_url, [self._build(project, one) for one in found])

    async def create_deployment(self, request: web.Request) -> web.Response:
        """Take what a program says that it deploys."""
        project, user = open_project(self._state, request, DEVELOPER, "api", jobs=True)
        params = await read_params(request)
        texts = {name: get_text(params, name, required=True) or "" for name in ("environment", "sha", "ref", "status")}
        get_text(params, "tag", required=True)
        if texts["status"] not in STATES:
            raise refuse_parameter("status does not have a valid value")
        new = NewDeployment(texts["environment"], texts["sha"], texts["ref"], get_flag(params, "tag"), user.id)
        made = deploy(self._state, project, new, texts["status"])
        return web.json_response(self._build(project, made), status=201)

    async def get_deployment(self, request: web.Request) -> web.Response:
        """Return one."""
        project, _ = open_project(self._state, request, REPORTER, jobs=True)
        return web.json_response(self._build(project, _get_deployment(request, project)))

    async def update_deployment(self, request: web.Request) -> web.Response:
        """Take how one goes on; those of jobs are changed by their jobs alone."""
        project, _ = open_project(self._state, request, DEVELOPER, "api", jobs=True)
        deployment = _get_deployment(request, project)
        status = get_text(await read_params(request), "status", required=True)
        if status not in STATES:
            raise refuse_parameter("status does not have a valid value")
        if deployment.job_id is not None:
            raise refuse(403, "403 Forbidden - Deployments created using GitLab CI can not be updated using the API")
        try:
            change_status(self._state, deployment, status)
        except NoStepError as error:
            raise refuse(400, {"status": [f'cannot transition via "{EVENTS[status]}"']}) from error
        return web.json_response(self._build(project, deployment))

    async def delete_deployment(self, request: web.Request) -> web.Response:
        """Delete one that neither runs nor is the last success of its environment."""
        project, _ = open_project(self._state, request, MAINTAINER, "api", jobs=True)
        deployment = _get_deployment(request, project)
        if deployment.status == "running":
            raise refuse(400, "Cannot destroy running deployment")
        if deployment is _find_last(project, deployment.environment):
            raise refuse(400, "Deployment currently deployed to environment")
        del project.deployments[deployment.id]
        return web.Response(status=204)

    async def list_environments(self, request: web.Request) -> web.Response:
        """List those of a project, the one of a name or those of a state if wanted."""
        project, _ = open_project(self._state, request, REPORTER, jobs=True)
        found = [self._build_environment(one) for one in project.environments.values()]
        for query, name in (("name", "name"), ("states", "state")):
            found = [one for one in found if request.query.get(query) in (None, one[name])]
        return build_page(request, self._state.external_url, found)

    async def create_environment(self, request: web.Request) -> web.Response:
        """Create one."""
        project, _ = open_project(self._state, request, DEVELOPER, "api", jobs=True)
        params = await read_params(request)
        name = get_text(params, "name", required=True) or ""
        if name in project.environments:
            raise refuse(400, {"name": ["has already been taken"]})
        made = ensure_environment(self._state, project, name, get_text(params, "external_url"))
        made.tier = get_text(params, "tier") or made.tier
        return web.json_response(self._build_environment(made), status=201)

    async def get_environment(self, request: web.Request) -> web.Response:
        """Return one, with what is deployed there."""
        project, _ = open_project(self._state, request, REPORTER, jobs=True)
        environment = _get_environment(request, project)
        last = _find_last(project, environment.name)
        shown = {"last_deployment": self._build(project, last) if last else None}
        return web.json_response(self._build_environment(environment) | shown)

    async def update_environment(self, request: web.Request) -> web.Response:
        """Change where one is, and its tier."""
        project, _ = open_project(self._state, request, DEVELOPER, "api", jobs=True)
        environment, params = _get_environment(request, project), await read_params(request)
        environment.external_url = get_text(params, "external_url") or environment.external_url
        environment.tier = get_text(params, "tier") or environment.tier
        return web.json_response(self._build_environment(environment))

    async def delete_environment(self, request: web.Request) -> web.Response:
        """Delete one that is stopped."""
        project, _ = open_project(self._state, request, DEVELOPER, "api", jobs=True)
        environment = _get_environment(request, project)
        if environment.state != "stopped":
            raise refuse(403, "403 Forbidden")
        del project.environments[environment.name]
        return web.Response(status=204)

    async def stop_environment(self, request: web.Request) -> web.Response:
        """Stop one."""
        project, _ = open_project(self._state, request, DEVELOPER, "api", jobs=True)
        environment = _get_environment(request, project)
        environment.state = "stopped"
        return web.json_response(self._build_environment(environment))

    def _build(self, project: Project, deployment: Deployment) -> dict[str, Any]:
        job = self._state.jobs.get(deployment.job_id or 0)
        return {
            "id": deployment.id,
            "iid": deployment.iid,
            "ref": deployment.ref,
            "sha": deployment.sha,
            "status": deployment.status,
            "created_at": build_time(deployment.created_at),
            "updated_at": build_time(deployment.updated_at),
            "user": build_user(self._state, deployment.user_id),
            "environment": self._build_environment(project.environments[deployment.environment]),
            "deployable": build_job(self._state, job) if job else None,
        }

    def _build_environment(self, environment: Environment) -> dict[str, Any]:
        return {
            "id": environment.id,
            "name": environment.name,
            "slug": environment.slug,
            "external_url": environment.external_url,
            "created_at": build_time(environment.created_at),
            "updated_at": build_time(environment.created_at),
            "tier": environment.tier,
            "state": environment.state,
        }


def _get_deployment(request: web.Request, project: Project) -> Deployment:
    deployment = project.deployments.get(int(request.match_info["deployment"]))
    if deployment is None:
        raise refuse(404, "404 Not found")
    return deployment


def _get_environment(request: web.Request, project: Project) -> Environment:
    number = int(request.match_info["environment"])
    found = next((one for one in project.environments.values() if one.id == number), None)
    if found is None:
        raise refuse(404, "404 Environment Not Found")
    return found


def _find_last(project: Project, environment: str) -> Deployment | None:
    """Find the last success of an environment."""
    found = (one for one in reversed(project.deployments.values()) if one.environment == environment)
    return next((one for one in found if one.status == "success"), None)
