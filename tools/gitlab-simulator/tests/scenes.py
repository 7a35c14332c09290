"""Small GitLabs for the tests: a clock that stands still, one project in a group, runners as wanted."""

from __future__ import annotations

from typing import Any

from gitlab_simulator.clock import Clock
from gitlab_simulator.jobs import create_pipeline
from gitlab_simulator.model import Job, Project, Runner
from gitlab_simulator.runners import create_runner
from gitlab_simulator.spec import JobSpec, PipelineSpec, RunnerSpec
from gitlab_simulator.state import GitLabState

START = 1_800_000_000.0


def build_state(*paths: str) -> GitLabState:
    state = GitLabState(Clock(frozen_at=START), "http://gitlab.test")
    for path in paths or ("hpc/sim",):
        state.add_group(path.rpartition("/")[0])
        project = Project(state.next_id("project"), path)
        state.projects[project.id] = project
    return state


def add_runner(state: GitLabState, kind: str = "instance_type", **fields: Any) -> Runner:
    runner = create_runner(state, RunnerSpec(runner_type=kind, **fields))
    runner.contacted_at = state.clock.now()
    return runner


def add_jobs(state: GitLabState, *jobs: dict[str, Any], project: str = "hpc/sim", **pipeline: Any) -> list[Job]:
    specs = [JobSpec.model_validate(job) for job in jobs or ({},)]
    made = create_pipeline(state, PipelineSpec(project=project, jobs=specs, **pipeline))
    return [state.jobs[number] for number in made.job_ids]
