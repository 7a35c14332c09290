"""What happens to merge requests: opened, changed, moved by a push, closed, merged.

Source: https://docs.gitlab.com/user/project/merge_requests/,
app/services/merge_requests/{refresh,update,merge}_service.rb
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .discussions import add_system_note, compute_is_resolved
from .git.objects import ZEROS
from .git.repository import HEADS
from .model import FINISHED, JobStatus, MergeRequest, Pipeline, Project, User, Version
from .pushes import Push, RefChange
from .spec import MergeRequestSpec
from .state import GitLabState, NotThereError


class RefusedMergeError(Exception):
    """It can't be merged; the text is its detailed_merge_status."""


@dataclass(frozen=True)
class MergeRequestChange:
    """What happened to a merge request: `action` as events name it, such as ``open``."""

    merge_request: MergeRequest
    user_id: int
    action: str
    oldrev: str = ""
    """The head before, of an update that moved it."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """The values before and after by their names."""


def open_merge_request(state: GitLabState, project: Project, spec: MergeRequestSpec) -> MergeRequest:
    """Create one, in the project that it goes to.

    Raises NotThereError: no such branch, project or user.
    """
    source = state.get_project(spec.source_project) if spec.source_project else project
    target = spec.target_branch or project.default_branch
    for where, branch in ((source, spec.source_branch), (project, target)):
        if branch not in where.repository.branches:
            raise NotThereError(f"merge_requests: branch {branch}")
    author = state.find_user(spec.author or "root")
    if author is None:
        raise NotThereError(f"merge_requests: user {spec.author}")
    now = state.clock.now()
    made = MergeRequest(
        state.next_id("merge_request"), len(project.merge_requests) + 1, project.id, source.id, spec.source_branch,
        target, spec.title, author.id, now, now, source.repository.branches[spec.source_branch], spec.description,
        labels=list(spec.labels),
    )  # fmt: skip
    project.merge_requests[made.iid] = made
    _point_ref(state, made)
    _tell(state, MergeRequestChange(made, author.id, "open"))
    return made


def find_open(project: Project, source: Project, spec: MergeRequestSpec) -> MergeRequest | None:
    """Find an open one between the same branches; GitLab takes no second one."""
    wanted = ("opened", source.id, spec.source_branch, spec.target_branch)
    found = project.merge_requests.values()
    return next(
        (one for one in found if (one.state, one.source_project_id, one.source_branch, one.target_branch) == wanted),
        None,
    )


def _point_ref(state: GitLabState, merge_request: MergeRequest) -> None:
    """Let the target project's ref point at the head, and keep what the changes are counted from."""
    target, source = state.projects[merge_request.project_id], state.projects[merge_request.source_project_id]
    if target is source:
        target.repository.set_ref(merge_request.ref, merge_request.head)
    else:
        target.repository.fetch(source.repository, merge_request.head, merge_request.ref)
    merge_request.start = target.repository.branches.get(merge_request.target_branch, merge_request.head)
    merge_base = target.repository.find_merge_base(merge_request.start, merge_request.head)
    merge_request.base = merge_base or merge_request.start
    if not merge_request.versions or merge_request.versions[-1].head != merge_request.head:
        version = Version(
            state.next_id("version"), merge_request.head, merge_request.start, merge_request.base, state.clock.now()
        )
        merge_request.versions.append(version)


def _tell(state: GitLabState, change: MergeRequestChange) -> None:
    state.tell("merge_request", change.merge_request.id, change)


def change_merge_request(state: GitLabState, merge_request: MergeRequest, user: User, wanted: dict[str, Any]) -> None:
    """Set any of title, description, target_branch, labels; tell of it, also where nothing is different."""
    before = {name: getattr(merge_request, name) for name in (*wanted, "draft", "updated_at")}
    for name, value in wanted.items():
        setattr(merge_request, name, value)
    if "target_branch" in wanted:
        _point_ref(state, merge_request)
    merge_request.updated_at = state.clock.now()
    changes = {
        name: {"previous": old, "current": getattr(merge_request, name)}
        for name, old in before.items()
        if old != getattr(merge_request, name)
    }
    if "draft" in changes:
        said = "draft" if merge_request.draft else "ready"
        add_system_note(state, merge_request, f"marked this merge request as **{said}**", user.id)
    _tell(state, MergeRequestChange(merge_request, user.id, "update", changes=changes))


def close_merge_request(state: GitLabState, merge_request: MergeRequest, user: User, *, closed: bool) -> None:
    """Close an open one, or open a closed one again, whose head is that of the source branch then."""
    if merge_request.state != ("opened" if closed else "closed"):
        return
    merge_request.state = "closed" if closed else "opened"
    merge_request.ended_by, merge_request.ended_at = (user.id, state.clock.now()) if closed else (None, None)
    merge_request.updated_at = state.clock.now()
    if not closed:
        source = state.projects[merge_request.source_project_id].repository.branches
        merge_request.head = source.get(merge_request.source_branch, merge_request.head)
        _point_ref(state, merge_request)
    add_system_note(state, merge_request, "closed" if closed else "reopened", user.id)
    _tell(state, MergeRequestChange(merge_request, user.id, "close" if closed else "reopen"))


def accept_merge_request(state: GitLabState, merge_request: MergeRequest, user: User) -> None:
    """Merge it by a merge commit, which is a push to the target branch, too. Raises RefusedMergeError."""
    status = compute_detailed_status(state, merge_request)
    if status != "mergeable":
        raise RefusedMergeError(status)
    project = state.projects[merge_request.project_id]
    branch, message = merge_request.target_branch, f"Merge branch '{merge_request.source_branch}'"
    old = project.repository.branches[branch]
    message += f" into '{branch}'\n\n{merge_request.title}\n\nSee merge request {project.full_path}!{merge_request.iid}"
    merged = project.repository.merge(branch, merge_request.head, message, (user.username, state.clock.now()))
    if merged is None:
        raise RefusedMergeError("conflict")
    merge_request.merge_commit_sha = merged
    _end_merged(state, merge_request, user.id)
    land_push(state, Push(project, user.id, (RefChange(HEADS + branch, old, merged),)))


def _end_merged(state: GitLabState, merge_request: MergeRequest, user_id: int) -> None:
    merge_request.state = "merged"
    merge_request.ended_by, merge_request.ended_at = user_id, state.clock.now()
    merge_request.updated_at = state.clock.now()
    add_system_note(state, merge_request, "merged", user_id)
    _tell(state, MergeRequestChange(merge_request, user_id, "merge"))


def land_push(state: GitLabState, push: Push) -> None:
    """Tell of a push that is there, and let the merge requests of its branches follow."""
    state.tell("push", push.project.id, push)
    for change in push.changes:
        if change.ref.startswith(HEADS) and change.new != ZEROS:
            branch = change.ref.removeprefix(HEADS)
            for merge_request in list(_list_open(state)):
                _follow(state, push, merge_request, branch, change.new)


def _list_open(state: GitLabState) -> list[MergeRequest]:
    found = (one for project in state.projects.values() for one in project.merge_requests.values())
    return [one for one in found if one.state == "opened"]


def _follow(state: GitLabState, push: Push, merge_request: MergeRequest, branch: str, new: str) -> None:
    project_id = push.project.id
    if (merge_request.source_project_id, merge_request.source_branch) == (project_id, branch):
        old, merge_request.head = merge_request.head, new
        if old == new:
            return
        merge_request.updated_at = state.clock.now()
        _point_ref(state, merge_request)
        repository = state.projects[merge_request.project_id].repository
        count = repository.count_commits(new, f"^{old}")
        add_system_note(state, merge_request, f"added {count} commit{'s' * (count != 1)}", push.user_id)
        _tell(state, MergeRequestChange(merge_request, push.user_id, "update", oldrev=old))
    elif (merge_request.project_id, merge_request.target_branch) == (project_id, branch) and (
        push.project.repository.is_ancestor(merge_request.head, new)
    ):
        merge_request.merge_commit_sha = push.project.repository.get_merge_commit(merge_request.head, new)
        _end_merged(state, merge_request, push.user_id)


def find_head_pipeline(state: GitLabState, merge_request: MergeRequest) -> Pipeline | None:
    """Find the latest pipeline of its head: of the merge request itself if there is one, else of the source branch."""
    at_head = [one for one in reversed(state.pipelines.values()) if one.sha == merge_request.head]
    own = (one for one in at_head if one.merge_request_id == merge_request.id)
    source = (merge_request.source_project_id, merge_request.source_branch)
    return next(own, None) or next((one for one in at_head if (one.project_id, one.ref) == source), None)


def compute_detailed_status(state: GitLabState, merge_request: MergeRequest) -> str:
    """Return whether it can be merged: https://docs.gitlab.com/api/merge_requests/#merge-status"""
    project = state.projects[merge_request.project_id]
    if merge_request.state != "opened":
        return "not_open"
    target = project.repository.branches.get(merge_request.target_branch)
    if target is None or project.repository.find_merged_tree(target, merge_request.head) is None:
        return "conflict"
    if merge_request.draft:
        return "draft_status"
    pipeline = find_head_pipeline(state, merge_request)
    status = pipeline.reported if pipeline else ""
    if project.only_allow_merge_if_pipeline_succeeds and status != JobStatus.SUCCESS:
        return "ci_still_running" if status and status not in FINISHED else "ci_must_pass"
    if project.only_allow_merge_if_all_discussions_are_resolved and not compute_is_resolved(merge_request):
        return "discussions_not_resolved"
    return "mergeable"
