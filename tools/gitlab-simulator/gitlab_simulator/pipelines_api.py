"""Pipelines and their jobs: https://docs.gitlab.com/api/pipelines/"""

from __future__ import annotations

from aiohttp import web

from .access import open_project, refuse
from .clock import build_time
from .jobs import cancel_job
from .model import DEVELOPER, FINISHED, REPORTER, Pipeline
from .paging import build_page
from .pipelines import compute_pipeline_times, list_pipeline_jobs
from .state import GitLabState
from .views import build_job, build_pipeline, build_user

BASE = "/api/v4/projects/{project}/pipelines"
FILTERS = ("ref", "sha", "source", "status")


class PipelinesApi:
    """Routes that take an access token."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        one = rf"{BASE}/{{pipeline:\d+}}"
        router.add_get(BASE, self.list_pipelines)
        router.add_get(one, self.get_pipeline)
        router.add_get(f"{one}/jobs", self.list_jobs)
        router.add_post(f"{one}/cancel", self.cancel)

    async def list_pipelines(self, request: web.Request) -> web.Response:
        """List those of a project, the latest first."""
        project, _ = open_project(self._state, request, REPORTER)
        mine = (one for one in reversed(self._state.pipelines.values()) if one.project_id == project.id)
        found = [build_pipeline(self._state, one) for one in mine]
        for name in FILTERS:
            found = [one for one in found if request.query.get(name) in (None, one[name])]
        return build_page(request, self._state.external_url, found)

    async def get_pipeline(self, request: web.Request) -> web.Response:
        """Return one."""
        return web.json_response(self._build_details(self._get(request, REPORTER)))

    async def list_jobs(self, request: web.Request) -> web.Response:
        """List GitLab's own jobs of one; what other programs say of the commit is not among them."""
        pipeline = self._get(request, REPORTER)
        jobs = [build_job(self._state, job) for job in list_pipeline_jobs(self._state, pipeline)]
        return build_page(request, self._state.external_url, jobs)

    async def cancel(self, request: web.Request) -> web.Response:
        """Cancel its jobs that are not over."""
        pipeline = self._get(request, DEVELOPER, "api")
        for job in list_pipeline_jobs(self._state, pipeline):
            if job.status not in FINISHED:
                cancel_job(self._state, job)
        return web.json_response(self._build_details(pipeline))

    def _get(self, request: web.Request, level: int, *scopes: str) -> Pipeline:
        project, _ = open_project(self._state, request, level, *scopes)
        pipeline = self._state.pipelines.get(int(request.match_info["pipeline"]))
        if pipeline is None or pipeline.project_id != project.id:
            raise refuse(404, "404 Not found")
        return pipeline

    def _build_details(self, pipeline: Pipeline) -> dict[str, object]:
        times = compute_pipeline_times(self._state, pipeline)
        return {
            **build_pipeline(self._state, pipeline),
            "name": None,
            "before_sha": pipeline.before_sha,
            "tag": pipeline.tag,
            "yaml_errors": None,
            "user": build_user(self._state, pipeline.user_id),
            "started_at": build_time(times.started_at),
            "finished_at": build_time(times.finished_at),
            "committed_at": None,
            "duration": times.duration,
            "queued_duration": times.queued_duration,
            "coverage": None,
        }
