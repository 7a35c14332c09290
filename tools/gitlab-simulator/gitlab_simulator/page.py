"""A page to look at: the jobs, live, with their logs, and buttons that run some.

Its requests lie below /-/, so that they don't count among those that GitLab gets.
"""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .jobs import create_pipeline
from .model import Job
from .spec import JobSpec, PipelineSpec
from .state import GitLabState, NotThereError
from .views import compute_duration, compute_queued

SHOWN = 100
"""Jobs in the table, the latest first."""
_STAMP = r"\d{4}-\d\d-\d\dT[\d:.]+Z [0-9a-f]{2}[OE]"
_STAMPS = re.compile(rf"\n{_STAMP}\+|^{_STAMP}[ +]", re.MULTILINE)
"""What runners put before each line; a plus says that it goes on from the line before.
Source: https://docs.gitlab.com/ci/jobs/job_logs/#job-log-timestamps"""
_CONTROL = re.compile(r"section_(?:start|end):\d+:[^\r\n]*\r|\x1b\[[0-9;]*[A-Za-z]|\r")
"""Marks of sections and ANSI's colours. Source: https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections"""


class RunOrder(BaseModel):
    """What the buttons send."""

    model_config = ConfigDict(extra="forbid")

    project: str
    count: int = Field(ge=1, le=500)
    seconds: int = Field(ge=0, le=3600)
    tags: list[str] = []


def add_page(router: web.UrlDispatcher, state: GitLabState) -> None:
    """Add the page, what it shows, and its buttons."""
    page = files(__package__).joinpath("page.html").read_text(encoding="utf-8")

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    async def tell(_: web.Request) -> web.Response:
        return web.json_response(build_page_state(state))

    async def show_log(request: web.Request) -> web.Response:
        job = state.jobs.get(int(request.match_info["id"]))
        if job is None:
            raise web.HTTPNotFound(text="there is no such job")
        return web.Response(text=clean_log(job.trace.decode("utf-8", "replace")))

    async def run(request: web.Request) -> web.Response:
        try:
            order = RunOrder.model_validate_json(await request.read())
            create_pipeline(state, build_pipeline(order))
        except ValidationError as error:
            wrong = error.errors()[0]
            raise web.HTTPBadRequest(text=f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from error
        except NotThereError as error:
            raise web.HTTPNotFound(text=f"there is no project {order.project!r}") from error
        return web.Response(status=204)

    router.add_get("/", show)
    router.add_get("/-/page/state", tell)
    router.add_get(r"/-/page/jobs/{id:\d+}/log", show_log)
    router.add_post("/-/page/run", run)


def build_pipeline(order: RunOrder) -> PipelineSpec:
    """Return the jobs that a button asks for."""
    script = ['echo "Hello from $(hostname)"', f"sleep {order.seconds}", "echo done"]
    jobs = [JobSpec(name=f"job {number + 1}", script=script, tags=order.tags) for number in range(order.count)]
    return PipelineSpec(project=order.project, jobs=jobs)


def build_page_state(state: GitLabState) -> dict[str, Any]:
    """Return all that the page shows but logs; durations are in seconds."""
    latest = list(state.jobs.values())[: -SHOWN - 1 : -1]
    return {
        "projects": [project.full_path for project in state.projects.values()],
        "runners": [
            {"id": one.id, "description": one.description, "tags": one.tags, "managers": len(one.managers)}
            for one in state.runners.values()
        ],
        "counts": Counter(job.status.value for job in state.jobs.values()),
        "jobs": [_build_row(state, job) for job in latest],
    }


def _build_row(state: GitLabState, job: Job) -> dict[str, Any]:
    runner = state.runners.get(job.runner_id or 0)
    return {
        "id": job.id,
        "name": job.name,
        "tags": job.tags,
        "status": job.status.value,
        "failure_reason": job.failure_reason,
        "waited": compute_queued(state, job),
        "ran": compute_duration(state, job),
        "runner": (runner.description or f"#{runner.id}") if runner else "",
        "system_id": job.system_id or "",
    }


def clean_log(log: str) -> str:
    """Take out of a log what is meant for a terminal, or for GitLab's own page."""
    return _CONTROL.sub("", _STAMPS.sub("", log.replace("\r\n", "\n")))
