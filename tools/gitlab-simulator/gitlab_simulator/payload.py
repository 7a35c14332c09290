"""What a runner is given with a job. Pure.

Source: common/spec/spec.go of gitlab-runner.
"""

from __future__ import annotations

from typing import Any

from .model import FINISHED, Job, Pipeline, Project, Runner
from .oidc import build_id_tokens
from .reports import parse_dotenv
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

REPORT_NAMES = {"dotenv": ".env"}
"""Others are their kind and ``.xml`` here. Source: app/models/enums/ci/job_artifact.rb"""


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
        "variables": _build_variables(state, job, timeout),
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
        "user_id": state.get_job_user_id(job),
        "time_in_queue_seconds": int(waited),
    }


def _build_git_info(state: GitLabState, job: Job, project: Project, pipeline: Pipeline) -> dict[str, Any]:
    scheme, _, rest = state.external_url.partition("://")
    return {
        "repo_url": f"{scheme}://gitlab-ci-token:{job.token}@{rest}/{project.full_path}.git",
        "repo_object_format": "sha1",
        "ref": pipeline.ref,
        "sha": pipeline.sha,
        "before_sha": pipeline.before_sha,
        "ref_type": "tag" if pipeline.tag else "branch",
        "refspecs": _build_refspecs(pipeline),
        "depth": 20,
        "protected": job.protected,
    }


def _build_refspecs(pipeline: Pipeline) -> list[str]:
    """Source: app/presenters/ci/build_runner_presenter.rb"""
    specs = [f"+{pipeline.persistent_ref}:{pipeline.persistent_ref}"] if pipeline.persistent_ref else []
    if pipeline.tag:
        return [*specs, f"+refs/tags/{pipeline.ref}:refs/tags/{pipeline.ref}"]
    if pipeline.ref.startswith("refs/"):
        return specs
    return [*specs, f"+refs/heads/{pipeline.ref}:refs/remotes/origin/{pipeline.ref}"]


def _build_variables(state: GitLabState, job: Job, timeout: int) -> list[dict[str, Any]]:
    spec: JobSpec = job.spec
    project, pipeline = state.projects[job.project_id], state.pipelines[job.pipeline_id]
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
        **_build_merge_request_variables(state, pipeline),
        **_build_environment_variables(state, job),
        "CI_COMMIT_REF_PROTECTED": str(job.protected).lower(),
        **({} if pipeline.persistent_ref else {"GIT_STRATEGY": "none"}),
    }
    secret = {"CI_JOB_TOKEN": job.token, **build_id_tokens(state, job, timeout)}
    given = {**pipeline.variables, **spec.variables, **_list_inherited(state, job, pipeline), **job.variables}
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


def _build_merge_request_variables(state: GitLabState, pipeline: Pipeline) -> dict[str, str]:
    merge_request = state.find_merge_request(pipeline.merge_request_id)
    if merge_request is None:
        return {}
    return {
        "CI_MERGE_REQUEST_IID": str(merge_request.iid),
        "CI_MERGE_REQUEST_PROJECT_ID": str(merge_request.project_id),
        "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": str(merge_request.source_project_id),
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": merge_request.source_branch,
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": merge_request.target_branch,
        "CI_MERGE_REQUEST_TITLE": merge_request.title,
    }


def _build_environment_variables(state: GitLabState, job: Job) -> dict[str, str]:
    wanted = job.spec.environment
    if wanted is None:
        return {}
    environment = state.projects[job.project_id].environments[wanted.name]
    names = {"CI_ENVIRONMENT_NAME": environment.name, "CI_ENVIRONMENT_SLUG": environment.slug}
    return names | {"CI_ENVIRONMENT_TIER": environment.tier, "CI_ENVIRONMENT_ACTION": wanted.action}


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
        {
            "name": REPORT_NAMES.get(kind, f"{kind}.xml"),
            "paths": paths,
            "artifact_type": kind,
            "artifact_format": "gzip",
            **common,
            "when": "always",
        }
        for kind, paths in spec.artifacts.reports.items()
    ]
    return ([archive] if spec.artifacts.paths or spec.artifacts.untracked else []) + reports


def _list_inherited(state: GitLabState, job: Job, pipeline: Pipeline) -> dict[str, str]:
    """The variables that jobs of earlier stages leave in their dotenv reports."""
    earlier = (state.jobs[number] for number in pipeline.job_ids if not state.jobs[number].retried)
    reports = (one.artifacts["dotenv"][1] for one in earlier
               if one.stage_index < job.stage_index and "dotenv" in one.artifacts)  # fmt: skip
    return {key: value for report in reports for key, value in parse_dotenv(report).items()}


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
