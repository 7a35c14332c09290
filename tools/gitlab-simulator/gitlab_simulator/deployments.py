"""Environments, and what was deployed to them: by jobs with ``environment:``, and by other programs.

Source: https://docs.gitlab.com/api/deployments/, https://docs.gitlab.com/api/environments/, app/models/deployment.rb,
app/services/deployments/create_service.rb
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .model import Deployment, Environment, Job, JobStatus, Project
from .state import GitLabState

STATES = ("running", "success", "failed", "canceled")
"""That other programs may report; a deployment begins as created."""
ENDED = frozenset({"success", "failed", "canceled"})
_TIERS = (
    (re.compile(r"dev|review|trunk", re.IGNORECASE), "development"),
    (re.compile(r"test|tst|int|ac(ce|)pt|qa|qc|control|quality", re.IGNORECASE), "testing"),
    (re.compile(r"st(a|)g|mod(e|)l|pre|demo|non", re.IGNORECASE), "staging"),
    (re.compile(r"pr(o|)d|live", re.IGNORECASE), "production"),
)
"""https://docs.gitlab.com/ci/environments/#deployment-tier-of-environments"""


class NoStepError(Exception):
    """The deployment is in that state already, or has left it."""


@dataclass(frozen=True)
class NewDeployment:
    environment: str
    sha: str
    ref: str
    tag: bool
    user_id: int
    job_id: int | None = None


def ensure_environment(state: GitLabState, project: Project, name: str, external_url: str | None = None) -> Environment:
    """Find an environment, or create it."""
    if name not in project.environments:
        tier = next((tier for pattern, tier in _TIERS if pattern.search(name)), "other")
        project.environments[name] = Environment(
            state.next_id("environment"), name, build_slug(name), tier, state.clock.now(), external_url
        )
    return project.environments[name]


def build_slug(name: str) -> str:
    """At most 24 of a-z, 0-9 and ``-``; GitLab adds a random end where that shortens a name, and here none is."""
    return re.sub(r"-+", "-", re.sub(r"[^a-z0-9]", "-", name.lower()))[:24].strip("-")


def deploy(state: GitLabState, project: Project, new: NewDeployment, status: str) -> Deployment:
    """Create a deployment, in a state at once; the environment's last one, if that says all the same, is kept."""
    environment = ensure_environment(state, project, new.environment)
    mine = [one for one in project.deployments.values() if one.environment == environment.name]
    same = (new.sha, new.ref, new.tag, status)
    if mine and (mine[-1].sha, mine[-1].ref, mine[-1].tag, mine[-1].status) == same and new.job_id is None:
        return mine[-1]
    now = state.clock.now()
    made = Deployment(
        state.next_id("deployment"), len(project.deployments) + 1, project.id, environment.name, new.sha, new.ref,
        new.tag, new.user_id, now, now, job_id=new.job_id,
    )  # fmt: skip
    project.deployments[made.id] = made
    change_status(state, made, status)
    return made


def change_status(state: GitLabState, deployment: Deployment, status: str) -> None:
    """Take a step, and tell of it. Raises NoStepError."""
    if status == deployment.status or (status == "running" and deployment.status != "created"):
        raise NoStepError
    deployment.status, deployment.updated_at = status, state.clock.now()
    deployment.finished_at = state.clock.now() if status in ENDED else None
    state.tell("deployment", deployment.id, deployment)


def follow_job(state: GitLabState, job: Job) -> None:
    """Let the deployment of a job with an environment go with the job."""
    wanted = job.spec.environment
    if wanted is None or wanted.action != "start":
        return
    project, pipeline = state.projects[job.project_id], state.pipelines[job.pipeline_id]
    mine = next((one for one in project.deployments.values() if one.job_id == job.id), None)
    if mine is None and job.status is JobStatus.RUNNING:
        user_id = state.get_job_user_id(job) or 1
        new = NewDeployment(wanted.name, pipeline.sha, pipeline.ref, pipeline.tag, user_id, job.id)
        deploy(state, project, new, "running")
    elif mine is not None and mine.status == "running" and job.status.value in ENDED:
        change_status(state, mine, job.status.value)
