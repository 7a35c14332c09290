"""Notes on merge requests, and the discussions that they make up.

Source: https://docs.gitlab.com/api/notes/, https://docs.gitlab.com/api/discussions/
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from .model import MergeRequest, Note
from .state import GitLabState


@dataclass(frozen=True)
class NoteChange:
    """What happened to a note: `action` is create or update."""

    merge_request: MergeRequest
    note: Note
    user_id: int
    action: str


@dataclass(frozen=True)
class NewNote:
    """A note to be written: a comment, or part of a discussion that can be resolved."""

    body: str
    author_id: int
    internal: bool = False
    resolvable: bool = False
    discussion: str = ""
    """Empty: a new one."""


def add_note(state: GitLabState, merge_request: MergeRequest, new: NewNote) -> Note:
    """Write a note, and tell of it."""
    now = state.clock.now()
    note = Note(
        state.next_id("note"), new.body, new.author_id, now, now, new.discussion or secrets.token_hex(20),
        new.internal, resolvable=new.resolvable,
    )  # fmt: skip
    merge_request.notes[note.id] = note
    state.tell("note", note.id, NoteChange(merge_request, note, new.author_id, "create"))
    return note


def add_system_note(state: GitLabState, merge_request: MergeRequest, body: str, user_id: int) -> None:
    """Write what GitLab itself says of what a user did; no webhook is told."""
    now = state.clock.now()
    number = state.next_id("note")
    merge_request.notes[number] = Note(number, body, user_id, now, now, secrets.token_hex(20), system=True)


def change_note(state: GitLabState, merge_request: MergeRequest, note: Note, body: str, user_id: int) -> None:
    """Change a note, and tell of it."""
    note.body, note.updated_at = body, state.clock.now()
    state.tell("note", note.id, NoteChange(merge_request, note, user_id, "update"))


def list_discussions(merge_request: MergeRequest) -> dict[str, list[Note]]:
    """The notes by their discussions, the oldest first."""
    found: dict[str, list[Note]] = {}
    for note in sorted(merge_request.notes.values(), key=lambda one: (one.created_at, one.id)):
        found.setdefault(note.discussion, []).append(note)
    return found


def resolve(state: GitLabState, notes: list[Note], user_id: int, *, resolved: bool) -> None:
    """Resolve the notes of a discussion, or take that back."""
    for note in notes:
        if note.resolvable and (note.resolved_by is not None) is not resolved:
            note.resolved_by = user_id if resolved else None
            note.resolved_at = state.clock.now() if resolved else None


def compute_is_resolved(merge_request: MergeRequest) -> bool:
    """Return whether all its discussions are resolved that can be."""
    return all(note.resolved_by is not None for note in merge_request.notes.values() if note.resolvable)
