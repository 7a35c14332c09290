"""How GitLab's REST API shows what is in a repository. Pure.

Source: https://docs.gitlab.com/api/repository_files/, https://docs.gitlab.com/api/branches/,
https://docs.gitlab.com/api/tags/, https://docs.gitlab.com/api/repositories/
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from .git.objects import Change, Commit, Entry, Tag
from .matching import compute_is_protected
from .model import DEVELOPER, MAINTAINER, Project, User
from .state import GitLabState
from .views import build_commit


def build_file(project: Project, commit: Commit, entry: Entry, ref: str) -> dict[str, Any]:
    """All of a file that a commit has, but its content."""
    content = project.repository.read_blob(entry.id)
    return {
        "file_name": entry.name,
        "file_path": entry.path,
        "size": len(content),
        "encoding": "base64",
        "content_sha256": sha256(content).hexdigest(),
        "ref": ref,
        "blob_id": entry.id,
        "commit_id": commit.sha,
        "last_commit_id": project.repository.get_last_change(commit.sha, entry.path).sha,
        "execute_filemode": entry.mode == "100755",
    }


def build_branch(state: GitLabState, project: Project, user: User, name: str) -> dict[str, Any]:
    """A branch, and whether the user may push to it."""
    repository = project.repository
    head = repository.get_commit(repository.branches[name])
    assert head is not None
    protected = compute_is_protected(project, name, tag=False)
    default = repository.branches.get(project.default_branch)
    access = state.compute_access(user, project.full_path)
    return {
        "name": name,
        "commit": build_commit(state, project, head),
        "merged": name != project.default_branch and default is not None and repository.is_ancestor(head.sha, default),
        "protected": protected,
        "developers_can_push": False,
        "developers_can_merge": False,
        "can_push": access >= (MAINTAINER if protected else DEVELOPER),
        "default": name == project.default_branch,
        "web_url": f"{state.external_url}/{project.full_path}/-/tree/{name}",
    }


def build_tag(state: GitLabState, project: Project, tag: Tag) -> dict[str, Any]:
    """A tag; ``target`` is the tag object of an annotated one."""
    commit = project.repository.get_commit(tag.commit)
    shown = build_commit(state, project, commit) if commit else None
    return {
        "name": tag.name,
        "message": tag.message,
        "target": tag.object,
        "commit": shown,
        "release": None,
        "protected": compute_is_protected(project, tag.name, tag=True),
        "created_at": None if tag.object == tag.commit or shown is None else shown["created_at"],
    }


def build_entry(entry: Entry) -> dict[str, Any]:
    """What a folder has; GitLab says no sizes."""
    return {"id": entry.id, "name": entry.name, "type": entry.kind, "path": entry.path, "mode": entry.mode}


def build_change(change: Change) -> dict[str, Any]:
    """A file that differs."""
    return {
        "diff": change.text,
        "collapsed": False,
        "too_large": False,
        "new_path": change.new_path,
        "old_path": change.old_path,
        "a_mode": change.old_mode,
        "b_mode": change.new_mode,
        "new_file": change.status == "A",
        "renamed_file": change.status == "R",
        "deleted_file": change.status == "D",
        "generated_file": None,
    }


def build_comparison(
    state: GitLabState, project: Project, old: Commit, new: Commit, *, straight: bool
) -> dict[str, Any]:
    """What the second commit has beyond the first one; without a common commit, all that it has."""
    repository = project.repository
    base = old.sha if straight else repository.find_merge_base(old.sha, new.sha)
    commits = repository.list_commits(f"^{old.sha}", new.sha)[::-1]
    changes = repository.list_changes(base or old.sha, new.sha)
    return {
        "commit": build_commit(state, project, commits[-1]) if commits else None,
        "commits": [build_commit(state, project, commit) for commit in commits],
        "diffs": [build_change(change) for change in changes],
        "compare_timeout": False,
        "compare_same_ref": old.sha == new.sha,
        "web_url": f"{state.external_url}/{project.full_path}/-/compare/{old.sha}...{new.sha}",
    }
