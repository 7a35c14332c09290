"""What GitLab's webhooks say that may lead to a build. Pure.

Any member may be missing: projects can change the body of their webhooks by a template. The kind of an event is its
``object_kind``; headers don't count, since system hooks all have the same one. Source:
https://docs.gitlab.com/user/project/integrations/webhook_events/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bessemer.foreign import Unreadable, make_line, parse_int
from bessemer.gitlab.hookreader import HookReader
from bessemer.gitlab.jobs import parse_path
from bessemer.gitlab.protocol import ProjectRef
from bessemer.jsonmembers import Path, Scalar

REF_CHARACTERS = 255
"""GitLab has the same limit for names of branches and tags."""
BRANCH, TAG, MERGE_REQUEST = "refs/heads/", "refs/tags/", "refs/merge-requests/"
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_NO_COMMIT = re.compile(r"0+")
_ATTRIBUTES = (
    "action", "draft", "iid", "id", "note", "noteable_type", "oldrev", "ref", "sha", "source", "source_project_id",
    "state", "status", "system", "tag", "target_branch", "target_project_id", "work_in_progress",
)  # fmt: skip
_MEMBERS: tuple[Path, ...] = (
    ("object_kind",),
    ("project_id",),
    ("project", "id"),
    ("project", "path_with_namespace"),
    ("ref",),
    ("ref_protected",),
    ("before",),
    ("after",),
    ("checkout_sha",),
    ("user_username",),
    ("push_options", "ci", "skip"),
    ("user", "username"),
    ("user", "id"),
    ("merge_request", "iid"),
    ("merge_request", "last_commit", "id"),
    ("merge_request", "source_project_id"),
    ("merge_request", "target_project_id"),
    ("object_attributes", "last_commit", "id"),
    *(("changes", name, "previous") for name in ("draft", "target_branch", "title")),
    *(("object_attributes", name) for name in _ATTRIBUTES),
)
_NOTE: Path = ("object_attributes", "note")
"""Of a comment, only the first line counts; the rest may be as long as GitLab lets it be."""
_DRAFT = re.compile(r"(\[draft\]|draft:|\(draft\))", re.IGNORECASE)
"""Beginning of the title of a draft. Source: https://docs.gitlab.com/user/project/merge_requests/drafts/"""
_PARTIAL = frozenset(
    {"webide", "parent_pipeline", "ondemand_dast_scan", "ondemand_dast_validation", "security_orchestration_policy"}
)
"""Sources of pipelines that say nothing of their commit: they are a part of another one, or scan something.
Source: dangling_sources in app/models/concerns/enums/ci/pipeline.rb of gitlab-org/gitlab"""
COMMAND = re.compile(r"/bessemer[ \t]+(build|retry|abort|plan)[ \t]*")
"""The first line of a comment that asks for something."""


@dataclass(frozen=True)
class RefEvent:
    """A branch or tag was created, moved or deleted."""

    project: ProjectRef
    ref: str
    """Full name, such as refs/heads/main."""
    commit: str | None
    """The commit that it points at now; None: it was deleted."""
    before: str | None
    """The commit that it pointed at; None: it was created."""
    protected: bool | None
    """Whether the ref is protected; None where GitLab does not say it."""
    actor: str
    """User name of who did it."""
    skip: bool = False
    """Whether the push option ci.skip was given."""
    kind: str = "push"
    """push, tag, or pipeline for one that has succeeded."""


@dataclass(frozen=True)
class MergeRequestEvent:
    """A merge request was opened, reopened or changed, or a comment on it asks for something."""

    project: ProjectRef
    number: int
    commit: str
    """Its latest commit."""
    actor: str
    target: str | None = None
    """The branch that it goes to; None where GitLab does not say it."""
    draft: bool = False
    fork: bool = False
    moved: bool = True
    """Whether it is open, and was opened, got new commits or has changed in another way that matters."""
    changed: bool = False
    """Whether it goes to another branch now, or is no draft any more."""
    command: str = ""
    """What the comment asks for: build, retry, abort or plan; empty for an event that is no comment."""
    comment_id: int = 0
    actor_id: int = 0
    """GitLab's number of the user who commented."""

    @property
    def ref(self) -> str:
        """The ref of its latest commit."""
        return f"{MERGE_REQUEST}{self.number}/head"


@dataclass(frozen=True)
class OtherEvent:
    """An event that can't lead to a build."""

    kind: str


Event = RefEvent | MergeRequestEvent | OtherEvent


class EventReader(HookReader[Event]):
    """Reads which event a webhook tells of."""

    def __init__(self) -> None:
        super().__init__(_MEMBERS, _parse_members, clipped=[_NOTE, ("changes", "title", "previous")])


def find_command(text: str) -> str:
    """Return what the first line of a comment asks for; empty for nothing."""
    lines = text.splitlines()
    command = COMMAND.fullmatch(lines[0]) if lines else None
    return command[1] if command is not None else ""


def is_commit(text: object) -> bool:
    """Return whether a value is the full name of a commit."""
    return isinstance(text, str) and _COMMIT.fullmatch(text) is not None


def is_name(ref: object) -> bool:
    """Return whether a value may be the name of a branch or tag, full or short."""
    if not isinstance(ref, str) or not ref or len(ref) > REF_CHARACTERS + len(BRANCH):
        return False
    return ref.isprintable() and not any(character.isspace() for character in ref)


def _parse_members(found: Mapping[Path, Scalar]) -> Event:
    kind = make_line(str(found.get(("object_kind",)) or ""), 64)
    if not kind:
        raise Unreadable("no object_kind")
    match kind:
        case "push" | "tag_push":
            return _parse_ref_event(found)
        case "merge_request":
            return _parse_merge_request(found)
        case "note":
            return _parse_comment(found)
        case "pipeline":
            return _parse_pipeline(found)
    return OtherEvent(kind)


def _parse_merge_request(found: Mapping[Path, Scalar]) -> MergeRequestEvent:
    """Read an event of a merge request; an update without ``oldrev`` has changed no commit."""
    action, target = found.get(("object_attributes", "action")), found.get(("object_attributes", "target_branch"))
    opened = found.get(("object_attributes", "state")) in ("opened", None)
    draft = True in (found.get(("object_attributes", name)) for name in ("draft", "work_in_progress"))
    changed = action == "update" and _has_changed(found, draft=draft)
    pushed = action == "update" and bool(found.get(("object_attributes", "oldrev")))
    return MergeRequestEvent(
        project=_parse_project(found),
        number=parse_int(found.get(("object_attributes", "iid")), least=1),
        commit=_require_commit(found, "object_attributes", "last_commit", "id"),
        actor=make_line(str(found.get(("user", "username")) or ""), 255),
        target=target if is_name(target) and isinstance(target, str) else None,
        draft=draft,
        fork=_is_fork(found, "object_attributes"),
        moved=opened and (action in ("open", "reopen") or pushed or changed),
        changed=opened and changed,
    )


def _has_changed(found: Mapping[Path, Scalar], *, draft: bool) -> bool:
    """Return whether a merge request goes to another branch than before, or is no draft any more.

    A branch that others are built upon is merged, and theirs go to its target from then on, with the same commits.
    GitLab before 16 says of drafts only how the title was.
    """
    title = str(found.get(("changes", "title", "previous")) or "")
    was_draft = found.get(("changes", "draft", "previous")) is True or _DRAFT.match(title) is not None
    return found.get(("changes", "target_branch", "previous")) is not None or (was_draft and not draft)


def _parse_comment(found: Mapping[Path, Scalar]) -> MergeRequestEvent | OtherEvent:
    attributes = {
        name: found.get(("object_attributes", name)) for name in ("note", "noteable_type", "action", "system")
    }
    command = find_command(str(attributes["note"] or ""))
    written = attributes["action"] in ("create", None) and attributes["system"] is not True
    if not command or not written or attributes["noteable_type"] != "MergeRequest":
        return OtherEvent("note")
    return MergeRequestEvent(
        project=_parse_project(found),
        number=parse_int(found.get(("merge_request", "iid")), least=1),
        commit=_require_commit(found, "merge_request", "last_commit", "id"),
        actor=make_line(str(found.get(("user", "username")) or ""), 255),
        fork=_is_fork(found, "merge_request"),
        command=command,
        comment_id=parse_int(found.get(("object_attributes", "id")), least=1),
        actor_id=parse_int(found.get(("user", "id")), least=1),
    )


def _parse_pipeline(found: Mapping[Path, Scalar]) -> RefEvent | OtherEvent:
    """Read an event of a pipeline; one with the source ``external`` was made by reports of other programs, and ours,
    and a child pipeline may succeed while its parent does not.
    """
    attributes = {name: found.get(("object_attributes", name)) for name in ("status", "source", "ref", "tag", "sha")}
    name = attributes["ref"]
    is_ours = attributes["source"] in ("external", *_PARTIAL) or found.get(("merge_request", "iid")) is not None
    if attributes["status"] != "success" or is_ours or not is_name(name):
        return OtherEvent("pipeline")
    return RefEvent(
        project=_parse_project(found),
        ref=f"{TAG if attributes['tag'] is True else BRANCH}{name}",
        commit=_require_commit(found, "object_attributes", "sha"),
        before=None,
        protected=None,
        actor=make_line(str(found.get(("user", "username")) or ""), 255),
        kind="pipeline",
    )


def _is_fork(found: Mapping[Path, Scalar], where: str) -> bool:
    source, target = found.get((where, "source_project_id")), found.get((where, "target_project_id"))
    return source is not None and target is not None and source != target


def _require_commit(found: Mapping[Path, Scalar], *path: str) -> str:
    value = found.get(path)
    if not is_commit(value):
        raise Unreadable(f"{'.'.join(path)} is no commit")
    return str(value)


def _parse_ref_event(found: Mapping[Path, Scalar]) -> RefEvent:
    ref = found.get(("ref",))
    if not isinstance(ref, str) or not ref.startswith((BRANCH, TAG)) or not is_name(ref):
        raise Unreadable("ref is not that of a branch or tag")
    protected, skip = found.get(("ref_protected",)), found.get(("push_options", "ci", "skip"))
    # Of an annotated tag, "after" is the tag itself, and only checkout_sha the commit; null where the ref is gone.
    commit = _parse_commit(found, "checkout_sha") or (_parse_commit(found, "after") if ref.startswith(BRANCH) else None)
    return RefEvent(
        project=_parse_project(found),
        ref=ref,
        commit=None if _NO_COMMIT.fullmatch(str(found.get(("after",)) or "")) else commit,
        before=_parse_commit(found, "before"),
        protected=protected if isinstance(protected, bool) else None,
        actor=make_line(str(found.get(("user_username",)) or ""), 255),
        skip=skip not in (None, False, "false", ""),
        kind="tag" if ref.startswith(TAG) else "push",
    )


def _parse_project(found: Mapping[Path, Scalar]) -> ProjectRef:
    path = found.get(("project", "path_with_namespace"))
    number = found.get(("project", "id")) or found.get(("project_id",))
    return ProjectRef(parse_path(path) if path else "", parse_int(number) if number is not None else None)


def _parse_commit(found: Mapping[Path, Scalar], name: str) -> str | None:
    """Return a commit's name; None for none, which GitLab writes as null or zeros. Raises Unreadable."""
    value = found.get((name,))
    if value is None or (isinstance(value, str) and (not value or _NO_COMMIT.fullmatch(value))):
        return None
    if not is_commit(value):
        raise Unreadable(f"{name} is no commit")
    return str(value)
