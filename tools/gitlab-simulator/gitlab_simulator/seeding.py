"""Makes what a seed file, or a test, asks for."""

from __future__ import annotations

from collections.abc import Mapping

from .jobs import create_pipeline
from .model import AccessToken, MergeRequest, Project
from .repository import Commit, File
from .spec import CommitSpec, GroupSpec, MergeRequestSpec, ProjectSpec, Seed, TokenSpec
from .state import GitLabState, NotThereError, compute_sha, compute_token


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
            add_merge_request(state, state.get_project(spec.path), merge_request)
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
    parent = repository.find_commit(begin, project.default_branch) if begin else None
    if begin and parent is None:
        raise NotThereError(f"commits: {spec.start}")
    files = dict(parent.files) if parent else {}
    for path, content in spec.files.items():
        if content is None:
            files.pop(path, None)
        else:
            files[path] = File(content.encode(), path in spec.executable)
    sha = spec.sha or _compute_commit_sha(parent.sha if parent else "", spec, files)
    commit = Commit(sha, spec.message, spec.author, state.clock.now(), files, parent.sha if parent else None)
    repository.commits[sha] = commit
    repository.branches[branch] = sha
    repository.tags |= dict.fromkeys(spec.tags, sha)
    return commit


def _compute_commit_sha(parent: str, spec: CommitSpec, files: Mapping[str, File]) -> str:
    blobs = (f"{path} {file.blob_id} {file.executable}" for path, file in sorted(files.items()))
    return compute_sha(parent, spec.branch, spec.author, spec.message, *blobs)


def add_merge_request(state: GitLabState, project: Project, spec: MergeRequestSpec) -> MergeRequest:
    """Create a merge request.

    Raises NotThereError: no such branch or user.
    """
    target = spec.target_branch or project.default_branch
    for branch in (spec.source_branch, target):
        if branch not in project.repository.branches:
            raise NotThereError(f"merge_requests: branch {branch}")
    author = state.find_user(spec.author or "root")
    if author is None:
        raise NotThereError(f"merge_requests: user {spec.author}")
    made = MergeRequest(
        state.next_id("merge_request"), len(project.merge_requests) + 1, spec.source_branch, target, spec.title,
        author.id, state.clock.now(), spec.description,
    )  # fmt: skip
    project.merge_requests[made.iid] = made
    return made


def _add_group(state: GitLabState, spec: GroupSpec) -> None:
    group = state.add_group(spec.path)
    group.runner_token_expiration_interval = spec.runner_token_expiration_interval
    group.subgroup_runner_token_expiration_interval = spec.subgroup_runner_token_expiration_interval
    group.project_runner_token_expiration_interval = spec.project_runner_token_expiration_interval


def _add_project(state: GitLabState, spec: ProjectSpec) -> None:
    if "/" in spec.path:
        state.add_group(spec.path.rpartition("/")[0])
    project = Project(
        state.next_id("project"), spec.path, default_branch=spec.default_branch,
        shared_runners_enabled=spec.shared_runners_enabled, group_runners_enabled=spec.group_runners_enabled,
        runner_token_expiration_interval=spec.runner_token_expiration_interval,
    )  # fmt: skip
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
