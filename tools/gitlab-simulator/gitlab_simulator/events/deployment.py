"""Deployments: https://docs.gitlab.com/user/project/integrations/webhook_events/#deployment-events

Source: lib/gitlab/data_builder/deployment.rb
"""

from __future__ import annotations

from ..model import Deployment
from ..state import GitLabState
from .event import Event
from .parts import build_offset_time, build_project, build_user


def build_event(state: GitLabState, deployment: Deployment) -> Event:
    project = state.projects[deployment.project_id]
    commit, user = project.repository.get_commit(deployment.sha), state.users[deployment.user_id]
    web_url = f"{state.external_url}/{project.full_path}"
    environment = project.environments[deployment.environment]
    body = {
        "object_kind": "deployment",
        "status": deployment.status,
        "status_changed_at": build_offset_time(deployment.updated_at).replace("T", " ").replace("+00:00", " +0000"),
        "deployment_id": deployment.id,
        "deployable_id": deployment.job_id,
        "deployable_url": f"{web_url}/-/jobs/{deployment.job_id}" if deployment.job_id else None,
        "environment": environment.name,
        "environment_tier": environment.tier,
        "environment_slug": environment.slug,
        "environment_external_url": environment.external_url,
        "project": build_project(state, project),
        "short_sha": deployment.sha[:8],
        "user": build_user(state, user.id),
        "user_url": f"{state.external_url}/{user.username}",
        "commit_url": f"{web_url}/-/commit/{deployment.sha}",
        "commit_title": commit.title if commit else None,
        "ref": deployment.ref,
    }
    return Event("deployment_events", "Deployment Hook", project.id, body)
