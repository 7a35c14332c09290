"""Makes what a seed file, or a test, asks for."""

from __future__ import annotations

from .forks import fork_project
from .git.objects import Commit
from .git.repository import NewCommit, Repository
from .jobs import create_pipeline
from .merge_requests import open_merge_request
from .model import AccessToken, Project
from .spec import CommitSpec, GroupSpec, ProjectSpec, Seed, TokenSpec
from .state import GitLabState, NotThereError, compute_token

COPIED = (
    "visibility", "shared_runners_enabled", "group_runners_enabled", "runner_token_expiration_interval",
    "only_allow_merge_if_pipeline_succeeds", "only_allow_merge_if_all_discussions_are_resolved",
)  # fmt: skip
"""What a project has as its specification says."""


def apply_seed(state: GitLabState, seed: Seed) -> dict[str, str]:
    """Create what a seed says; return the values of the access tokens by their names.

    Raises NotThereError: it names something that is not there.
    """
    for group in seed.groups:
        _add_group(state, group)
    for project in seed.projects:
        _add_project(state, project)
    for user in seed.users:
        state.add_user(user.username, admin=user.admin, access=user.access)
    for spec in seed.projects:
        for merge_request in spec.merge_requests:
            open_merge_request(state, state.get_project(spec.path), merge_request)
    values = {token.name: _add_token(state, token) for token in seed.tokens}
    for pipeline in seed.pipelines:
        create_pipeline(state, pipeline)
    return values


def add_commit(state: GitLabState, project: Project, spec: CommitSpec) -> Commit:
    """Create a commit, and let its branch and tags point at it.

    Raises NotThereError: no such commit to begin a branch at.
    """
    repository, branch = project.repository, spec.branch or project.default_branch
    begin = repository.branches.get(branch) or spec.start or repository.branches.get(project.default_branch)
    parent = repository.find_commit(begin) if begin else None
    if begin and parent is None:
        raise NotThereError(f"commits: {spec.start}")
    files = {path: None if content is None else content.encode() for path, content in spec.files.items()}
    files |= {path: target.encode() for path, target in spec.symlinks.items()}
    modes = dict.fromkeys(spec.executable, "100755") | dict.fromkeys(spec.symlinks, "120000")
    made = NewCommit(
        branch, parent.sha if parent else None, spec.message, spec.author, state.clock.now(), files, modes
    )  # fmt: skip
    sha = repository.add_commit(made)
    for tag in spec.tags:
        repository.set_ref(f"refs/tags/{tag}", sha)
    commit = repository.get_commit(sha)
    assert commit is not None
    return commit


def _add_group(state: GitLabState, spec: GroupSpec) -> None:
    group = state.add_group(spec.path)
    group.runner_token_expiration_interval = spec.runner_token_expiration_interval
    group.subgroup_runner_token_expiration_interval = spec.subgroup_runner_token_expiration_interval
    group.project_runner_token_expiration_interval = spec.project_runner_token_expiration_interval


def _add_project(state: GitLabState, spec: ProjectSpec) -> None:
    if spec.forked_from:
        project = fork_project(state, state.get_project(spec.forked_from), spec.path)
    else:
        state.add_group(spec.path.rpartition("/")[0])
        project = Project(state.next_id("project"), spec.path, repository=Repository(spec.default_branch))
    for name in COPIED:
        setattr(project, name, getattr(spec, name))
    if spec.protected_branches is not None:
        project.protected_branches = list(spec.protected_branches)
    project.protected_tags = list(spec.protected_tags)
    for commit in spec.commits:
        add_commit(state, project, commit)
    state.projects[project.id] = project


def _add_token(state: GitLabState, spec: TokenSpec) -> str:
    owner = state.find_user(spec.user)
    if owner is None:
        raise NotThereError(f"tokens: user {spec.user}")
    value = spec.value or compute_token("glpat-")
    expires = None if spec.expires_in is None else state.clock.now() + spec.expires_in
    number = state.next_id("token")
    state.tokens[number] = AccessToken(number, value, owner.id, frozenset(spec.scopes), spec.name, expires)
    return value
