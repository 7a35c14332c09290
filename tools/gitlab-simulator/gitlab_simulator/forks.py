"""Forks of projects: https://docs.gitlab.com/api/project_forks/"""

from __future__ import annotations

from .git.repository import Repository
from .model import Project
from .state import GitLabState


def fork_project(state: GitLabState, origin: Project, path: str) -> Project:
    """Create a project with the branches and tags of another one."""
    state.add_group(path.rpartition("/")[0])
    fork = Project(state.next_id("project"), path, repository=Repository(origin.default_branch), forked_from=origin.id)
    if origin.repository.refs:
        fork.repository.copy_from(origin.repository)
    state.projects[fork.id] = fork
    return fork
