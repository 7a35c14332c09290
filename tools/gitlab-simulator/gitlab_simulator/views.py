"""How GitLab's REST API shows its objects. Pure.

Source: https://docs.gitlab.com/api/jobs/, https://docs.gitlab.com/api/runners/, https://docs.gitlab.com/api/projects/
"""

from __future__ import annotations

from typing import Any

from . import model
from .clock import build_time
from .git.objects import Commit, build_email
from .runners import compute_runner_status
from .state import GitLabState


def build_user(state: GitLabState, user_id: int | None) -> dict[str, Any] | None:
    if (user := state.users.get(user_id or 0)) is None:
        return None
    return {
        "id": user.id,
        "username": user.username,
        "name": user.username.capitalize(),
        "state": "active",
        "locked": False,
        "avatar_url": None,
        "web_url": f"{state.external_url}/{user.username}",
    }


def build_access_token(token: model.AccessToken) -> dict[str, Any]:
    """Show an access token, but for its value; it ends at the beginning of the day that it says."""
    return {
        "id": token.id,
        "name": token.name,
        "revoked": token.revoked,
        "scopes": sorted(token.scopes),
        "user_id": token.user_id,
        "last_used_at": build_time(token.last_used_at),
        "active": True,
        "expires_at": (build_time(token.expires_at) or "")[:10] or None,
    }


def build_group(state: GitLabState, group: model.Group) -> dict[str, Any]:
    parent, _, path = group.full_path.rpartition("/")
    above = state.find_group(parent) if parent else None
    return {
        "id": group.id,
        "name": path,
        "path": path,
        "full_name": group.full_path.replace("/", " / "),
        "full_path": group.full_path,
        "parent_id": above.id if above else None,
        "visibility": "private",
        "web_url": f"{state.external_url}/groups/{group.full_path}",
    }


def build_project(state: GitLabState, project: model.Project) -> dict[str, Any]:
    namespace_path, _, path = project.full_path.rpartition("/")
    namespace = state.find_group(namespace_path)
    return {
        "id": project.id,
        "name": path,
        "path": path,
        "path_with_namespace": project.full_path,
        "name_with_namespace": project.full_path.replace("/", " / "),
        "default_branch": project.default_branch,
        "visibility": project.visibility,
        "shared_runners_enabled": project.shared_runners_enabled,
        "group_runners_enabled": project.group_runners_enabled,
        "web_url": f"{state.external_url}/{project.full_path}",
        "http_url_to_repo": f"{state.external_url}/{project.full_path}.git",
        **_build_origin(state, project),
        "only_allow_merge_if_pipeline_succeeds": project.only_allow_merge_if_pipeline_succeeds,
        "only_allow_merge_if_all_discussions_are_resolved": project.only_allow_merge_if_all_discussions_are_resolved,
        "namespace": {
            "id": namespace.id if namespace else None,
            "full_path": namespace_path,
            "kind": "group",
            "path": namespace_path.rpartition("/")[2],
            "name": namespace_path.rpartition("/")[2],
        },
    }


def _build_origin(state: GitLabState, project: model.Project) -> dict[str, Any]:
    """What a fork says of the project that it was made of."""
    origin = state.projects.get(project.forked_from or 0)
    if origin is None:
        return {}
    return {"forked_from_project": {"id": origin.id, "path_with_namespace": origin.full_path}}


def build_pipeline(state: GitLabState, pipeline: model.Pipeline) -> dict[str, Any]:
    return {
        "id": pipeline.id,
        "iid": pipeline.id,
        "project_id": pipeline.project_id,
        "ref": pipeline.ref,
        "sha": pipeline.sha,
        "source": pipeline.source,
        "status": pipeline.reported or "created",
        "created_at": build_time(pipeline.created_at),
        "updated_at": build_time(pipeline.created_at),
        "web_url": f"{state.external_url}/{state.projects[pipeline.project_id].full_path}/-/pipelines/{pipeline.id}",
    }


def build_commit(state: GitLabState, project: model.Project, commit: Commit) -> dict[str, Any]:
    return {
        "id": commit.sha,
        "short_id": commit.sha[:8],
        "created_at": build_time(commit.committed_at),
        "parent_ids": list(commit.parents),
        "title": commit.title,
        "message": commit.message,
        "author_name": commit.author_name,
        "author_email": commit.author_email,
        "authored_date": build_time(commit.authored_at),
        "committer_name": commit.committer_name,
        "committer_email": commit.committer_email,
        "committed_date": build_time(commit.committed_at),
        "trailers": {},
        "extended_trailers": {},
        "web_url": f"{state.external_url}/{project.full_path}/-/commit/{commit.sha}",
    }


def get_pipeline_commit(project: model.Project, pipeline: model.Pipeline) -> Commit:
    """Return a pipeline's commit; one is made up where the repository has none of that name."""
    found = project.repository.get_commit(pipeline.sha)
    if found is not None:
        return found
    name, email, at = "Root", build_email("Root"), pipeline.created_at
    return Commit(pipeline.sha, (), name, email, at, name, email, at, f"Commit {pipeline.sha[:8]}")


def compute_queued(state: GitLabState, job: model.Job) -> float | None:
    """How many seconds a job waited, or has been waiting, since it became pending."""
    if job.pending_at is None:
        return None
    return (job.started_at or job.finished_at or state.clock.now()) - job.pending_at


def compute_duration(state: GitLabState, job: model.Job) -> float | None:
    """How many seconds a job ran, or has been running."""
    if job.started_at is None:
        return None
    return (job.finished_at or state.clock.now()) - job.started_at


def build_job(state: GitLabState, job: model.Job) -> dict[str, Any]:
    pipeline, project = state.pipelines[job.pipeline_id], state.projects[job.project_id]
    runner = state.runners.get(job.runner_id or 0)
    manager = runner.managers.get(job.system_id or "") if runner else None
    archive = job.artifacts.get("archive")
    return {
        "id": job.id,
        "status": job.status.value,
        "stage": job.stage,
        "name": job.name,
        "ref": pipeline.ref,
        "tag": pipeline.tag,
        "coverage": None,
        "allow_failure": job.spec.allow_failure,
        "created_at": build_time(job.created_at),
        "started_at": build_time(job.started_at),
        "finished_at": build_time(job.finished_at),
        "erased_at": None,
        "duration": compute_duration(state, job),
        "queued_duration": compute_queued(state, job),
        "user": build_user(state, state.get_job_user_id(job)),
        "commit": build_commit(state, project, get_pipeline_commit(project, pipeline)),
        "pipeline": build_pipeline(state, pipeline),
        **({"failure_reason": job.failure_reason} if job.failure_reason else {}),
        "web_url": f"{state.external_url}/{project.full_path}/-/jobs/{job.id}",
        "project": {"ci_job_token_scope_enabled": False},
        **({"artifacts_file": {"filename": archive[0], "size": len(archive[1])}} if archive else {}),
        "artifacts": [
            {
                "file_type": kind,
                "size": len(data),
                "filename": name,
                "file_format": "zip" if kind == "archive" else "gzip",
            }
            for kind, (name, data) in job.artifacts.items()
        ],
        "runner": build_runner(state, runner) if runner else None,
        "runner_manager": build_manager(state, manager) if manager else None,
        "artifacts_expire_at": None,
        "archived": False,
        "tag_list": job.tags,
    }


def build_runner(state: GitLabState, runner: model.Runner) -> dict[str, Any]:
    """A runner as lists show it: without tags and maintenance note."""
    status = compute_runner_status(runner, state.clock.now())
    return {
        "id": runner.id,
        "description": runner.description,
        "ip_address": "",
        "active": not runner.paused,
        "paused": runner.paused,
        "is_shared": runner.type is model.RunnerType.INSTANCE,
        "runner_type": runner.type.value,
        "name": None,
        "online": None if runner.contacted_at is None else status == "online",
        "created_at": build_time(runner.created_at),
        "status": status,
        "job_execution_status": "active" if _runs_job(state, runner) else "idle",
    }


def _runs_job(state: GitLabState, runner: model.Runner) -> bool:
    return any(job.runner_id == runner.id and job.status in model.AT_RUNNER for job in state.jobs.values())


def build_runner_details(state: GitLabState, runner: model.Runner) -> dict[str, Any]:
    """A runner as ``GET /runners/:id`` shows it."""
    group = state.groups.get(runner.group_id or 0)
    return {
        **build_runner(state, runner),
        "tag_list": runner.tags,
        "run_untagged": runner.run_untagged,
        "locked": runner.locked,
        "maximum_timeout": runner.maximum_timeout,
        "access_level": runner.access_level,
        "contacted_at": build_time(runner.contacted_at),
        "maintenance_note": runner.maintenance_note,
        "version": None,
        "revision": None,
        "platform": None,
        "architecture": None,
        "projects": [
            build_project(state, state.projects[project]) for project in runner.project_ids if project in state.projects
        ],
        "groups": [{"id": group.id, "name": group.full_path, "web_url": build_group(state, group)["web_url"]}]
        if group
        else [],
    }


def build_manager(state: GitLabState, manager: model.Manager) -> dict[str, Any]:
    runner = state.runners[manager.runner_id]
    return {
        "id": manager.id,
        "system_id": manager.system_id,
        "version": manager.info.get("version"),
        "revision": manager.info.get("revision"),
        "platform": manager.info.get("platform"),
        "architecture": manager.info.get("architecture"),
        "created_at": build_time(manager.created_at),
        "contacted_at": build_time(manager.contacted_at),
        "ip_address": manager.ip_address,
        "status": compute_runner_status(runner, state.clock.now()),
        "job_execution_status": "active"
        if any(
            job.runner_id == runner.id and job.system_id == manager.system_id and job.status in model.AT_RUNNER
            for job in state.jobs.values()
        )
        else "idle",
    }
