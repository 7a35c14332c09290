"""The artifacts of jobs, as users read them, and the tests of pipelines.

Source: https://docs.gitlab.com/api/job_artifacts/, https://docs.gitlab.com/api/pipelines/#get-a-test-report-for-a-pipeline
"""

from __future__ import annotations

import io
import zipfile
from urllib.parse import unquote

from aiohttp import web

from .access import open_project, refuse
from .model import REPORTER
from .pipelines import list_pipeline_jobs
from .reports import build_test_report
from .state import GitLabState

PROJECT = "/api/v4/projects/{project}"


class ArtifactsApi:
    """Routes that take an access token, or a job's token."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        job = rf"{PROJECT}/jobs/{{job:\d+}}/artifacts"
        router.add_get(job, self.get_archive)
        router.add_get(f"{job}/{{path:.+}}", self.get_file)
        router.add_get(rf"{PROJECT}/pipelines/{{pipeline:\d+}}/test_report", self.get_tests)

    async def get_archive(self, request: web.Request) -> web.Response:
        """Return what the job's ``paths`` have, as a ZIP archive."""
        archive = self._open(request)
        return web.Response(body=archive, content_type="application/zip")

    async def get_file(self, request: web.Request) -> web.Response:
        """Return a file of the archive."""
        archive = self._open(request)
        try:
            with zipfile.ZipFile(io.BytesIO(archive)) as files:
                content = files.read(unquote(request.match_info["path"]))
        except (KeyError, zipfile.BadZipFile):
            raise refuse(404, "404 Not found") from None
        return web.Response(body=content, content_type="application/octet-stream")

    async def get_tests(self, request: web.Request) -> web.Response:
        """Return the tests that the jobs of a pipeline report."""
        project, _ = open_project(self._state, request, REPORTER)
        pipeline = self._state.pipelines.get(int(request.match_info["pipeline"]))
        if pipeline is None or pipeline.project_id != project.id:
            raise refuse(404, "404 Not found")
        return web.json_response(build_test_report(list_pipeline_jobs(self._state, pipeline)))

    def _open(self, request: web.Request) -> bytes:
        project, _ = open_project(self._state, request, REPORTER, jobs=True)
        job = self._state.jobs.get(int(request.match_info["job"]))
        if job is None or job.project_id != project.id or "archive" not in job.artifacts:
            raise refuse(404, "404 Not found")
        return job.artifacts["archive"][1]
