"""What a runner is given with a job. Pure.

Source: common/spec/spec.go of gitlab-runner.
"""

from __future__ import annotations

from typing import Any

from .model import FINISHED, Job, Pipeline, Project, Runner
from .spec import JobSpec
from .state import GitLabState

FAILURE_REASONS = [
    "unknown_failure",
    "script_failure",
    "runner_system_failure",
    "job_execution_timeout",
    "image_pull_failure",
    "runner_configuration_error",
    "runner_external_dependency_failure",
    "runner_interrupted",
    "job_canceled",
]
"""Those that the server knows; a runner says unknown_failure in the place of any other."""


def compute_timeout(job: Job, runner: Runner) -> int:
    """The shorter of the job's own time and the runner's longest, in seconds."""
    own: int = job.spec.timeout
    return min(own, runner.maximum_timeout or own)


def build_payload(state: GitLabState, job: Job, runner: Runner) -> dict[str, Any]:
    """Return the body of the 201."""
    spec: JobSpec = job.spec
    project, pipeline = state.projects[job.project_id], state.pipelines[job.pipeline_id]
    timeout = compute_timeout(job, runner)
    payload: dict[str, Any] = {
        "id": job.id,
        "token": job.token,
        "allow_git_fetch": True,
        "job_info": _build_job_info(state, job, project, pipeline),
        "git_info": _build_git_info(state, job, project, pipeline),
        "runner_info": {"timeout": timeout, "runner_session_url": None},
        "inputs": [],
        "variables": _build_variables(state, job, project, pipeline),
        "steps": _build_steps(spec, timeout),
        "image": _build_image(spec.image) if spec.image else None,
        "services": [_build_image(service) for service in spec.services],
        "artifacts": _build_artifacts(spec),
        "cache": spec.cache,
        "credentials": [],
        "dependencies": _build_dependencies(state, job, pipeline),
        "features": {"trace_sections": True, "failure_reasons": FAILURE_REASONS},
        "secrets": {},
        "hooks": [],
    }
    return payload | spec.payload


def _build_job_info(state: GitLabState, job: Job, project: Project, pipeline: Pipeline) -> dict[str, Any]:
    namespace = state.find_group(project.full_path.rpartition("/")[0])
    root = state.find_group(project.full_path.partition("/")[0])
    waited = (job.started_at or 0) - (job.pending_at or 0)
    return {
        "id": job.id,
        "name": job.name,
        "stage": job.stage,
        "pipeline_id": pipeline.id,
        "project_id": project.id,
        "project_name": project.full_path.rpartition("/")[2],
        "project_full_path": project.full_path,
        "namespace_id": namespace.id if namespace else None,
        "root_namespace_id": root.id if root else None,
        "user_id": pipeline.user_id,
        "time_in_queue_seconds": int(waited),
    }


def _build_git_info(state: GitLabState, job: Job, project: Project, pipeline: Pipeline) -> dict[str, Any]:
    scheme, _, rest = state.external_url.partition("://")
    kind = "tags" if pipeline.tag else "heads"
    return {
        "repo_url": f"{scheme}://gitlab-ci-token:{job.token}@{rest}/{project.full_path}.git",
        "repo_object_format": "sha1",
        "ref": pipeline.ref,
        "sha": pipeline.sha,
        "before_sha": "0" * 40,
        "ref_type": "tag" if pipeline.tag else "branch",
        "refspecs": [f"+refs/{kind}/{pipeline.ref}:refs/{'tags' if pipeline.tag else 'remotes/origin'}/{pipeline.ref}"],
        "depth": 20,
        "protected": job.protected,
    }


def _build_variables(state: GitLabState, job: Job, project: Project, pipeline: Pipeline) -> list[dict[str, Any]]:
    spec: JobSpec = job.spec
    made = {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_SERVER_URL": state.external_url,
        "CI_API_V4_URL": f"{state.external_url}/api/v4",
        "CI_JOB_ID": str(job.id),
        "CI_JOB_NAME": job.name,
        "CI_JOB_STAGE": job.stage,
        "CI_JOB_TIMEOUT": str(spec.timeout),
        "CI_PIPELINE_ID": str(pipeline.id),
        "CI_PIPELINE_SOURCE": pipeline.source,
        "CI_PROJECT_ID": str(project.id),
        "CI_PROJECT_NAME": project.full_path.rpartition("/")[2],
        "CI_PROJECT_PATH": project.full_path,
        "CI_COMMIT_SHA": pipeline.sha,
        "CI_COMMIT_SHORT_SHA": pipeline.sha[:8],
        "CI_COMMIT_REF_NAME": pipeline.ref,
        "CI_COMMIT_REF_SLUG": compute_slug(pipeline.ref),
        "CI_COMMIT_REF_PROTECTED": str(job.protected).lower(),
        "GIT_STRATEGY": "none",
    }
    secret = {"CI_JOB_TOKEN": job.token}
    given = {**pipeline.variables, **spec.variables}
    variables = [{"key": key, "value": value, "public": True, "masked": False} for key, value in made.items()]
    variables += [{"key": key, "value": value, "public": False, "masked": True} for key, value in secret.items()]
    variables += [
        {
            "key": key,
            "value": value,
            "public": key not in spec.masked,
            "masked": key in spec.masked,
            "file": key in spec.file_variables,
        }
        for key, value in given.items()
    ]
    return variables


def compute_slug(ref: str) -> str:
    """Lower case, at most 63 of a-z, 0-9 and ``-``: https://docs.gitlab.com/ci/variables/predefined_variables/"""
    return "".join(char if char.isalnum() and char.isascii() else "-" for char in ref.lower())[:63].strip("-")


def _build_steps(spec: JobSpec, timeout: int) -> list[dict[str, Any]]:
    steps = [
        {
            "name": "script",
            "script": [*spec.before_script, *spec.script],
            "timeout": timeout,
            "when": "on_success",
            "allow_failure": False,
        }
    ]
    if spec.after_script:
        steps.append(
            {
                "name": "after_script",
                "script": spec.after_script,
                "timeout": timeout,
                "when": "always",
                "allow_failure": True,
            }
        )
    return steps


def _build_image(image: str | dict[str, Any]) -> dict[str, Any]:
    return {"name": image} if isinstance(image, str) else image


def _build_artifacts(spec: JobSpec) -> list[dict[str, Any]]:
    if spec.artifacts is None:
        return []
    common = {"expire_in": spec.artifacts.expire_in, "when": spec.artifacts.when}
    archive = {
        "name": spec.artifacts.name,
        "untracked": spec.artifacts.untracked,
        "paths": spec.artifacts.paths,
        "exclude": spec.artifacts.exclude,
        "artifact_type": "archive",
        "artifact_format": "zip",
        **common,
    }
    reports = [
        {"name": f"{kind}.xml", "paths": paths, "artifact_type": kind, "artifact_format": "gzip", **common}
        for kind, paths in spec.artifacts.reports.items()
    ]
    return ([archive] if spec.artifacts.paths or spec.artifacts.untracked else []) + reports


def _build_dependencies(state: GitLabState, job: Job, pipeline: Pipeline) -> list[dict[str, Any]]:
    earlier = (state.jobs[other] for other in pipeline.job_ids)
    return [
        {
            "id": other.id,
            "name": other.name,
            "token": other.token,
            "artifacts_file": {"filename": other.artifacts["archive"][0], "size": len(other.artifacts["archive"][1])},
        }
        for other in earlier
        if other.stage_index < job.stage_index and other.status in FINISHED and "archive" in other.artifacts
    ]
