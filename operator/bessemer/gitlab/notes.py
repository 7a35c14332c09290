"""Merge requests, and the notes on them, by REST.

Sources: https://docs.gitlab.com/api/merge_requests/, https://docs.gitlab.com/api/discussions/#merge-requests and
https://docs.gitlab.com/api/notes/. Notes are looked for by their discussions, since a list of notes does not say which
discussion can be resolved.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from bessemer.foreign import Unreadable, parse_int, parse_time
from bessemer.gitlab.events import is_commit
from bessemer.gitlab.jobs import make_name, parse_list, parse_object
from bessemer.gitlab.protocol import Comment
from bessemer.gitlab.reports import MergeRequest, Note, Pipeline
from bessemer.gitlab.transport import Transport

PAGE_SIZE = 100
MOST_PAGES = 50
"""Of the discussions of one merge request."""
MOST_MERGE_REQUESTS = 8
"""Of one commit."""


async def get_user(transport: Transport) -> int:
    """Return the number of the access token's user."""
    return parse_int(parse_object((await transport.fetch("GET", "/user")).get_data()).get("id"), least=1)


async def list_merge_requests(transport: Transport, project: str, commit: str) -> list[MergeRequest]:
    """List the merge requests whose head or result a commit is, the earliest first, but none that was closed."""
    path = f"/projects/{quote(project, safe='')}/repository/commits/{commit}/merge_requests"
    page = parse_list((await transport.fetch("GET", path, query={"per_page": str(PAGE_SIZE)})).get_data())
    results = ("sha", "merge_commit_sha", "squash_commit_sha")
    raw = [
        one
        for one in map(parse_object, page)
        if one.get("state") != "closed" and commit in [one.get(name) for name in results]
    ]
    return sorted(map(_parse_merge_request, raw), key=lambda one: one.iid)[:MOST_MERGE_REQUESTS]


async def get_merge_request(transport: Transport, project: str, iid: int) -> MergeRequest:
    """Return a merge request with its head pipeline."""
    path = f"{_path(project, iid)}"
    return _parse_merge_request(parse_object((await transport.fetch("GET", path)).get_data()))


async def read_comment(transport: Transport, project: str, iid: int, number: int) -> Comment:
    """Return a comment, with the commit that was the latest of the merge request then.

    Source: https://docs.gitlab.com/api/merge_requests/#retrieve-merge-request-diff-versions. Each push makes a version;
    of the latest hundred, that of the comment is the last one before it.
    """
    path = _path(project, iid)
    raw = parse_object((await transport.fetch("GET", f"{path}/notes/{number}")).get_data())
    written, author = parse_time(raw.get("created_at")), raw.get("author")
    page = parse_list((await transport.fetch("GET", f"{path}/versions", query={"per_page": str(PAGE_SIZE)})).get_data())
    versions = [_parse_version(parse_object(one)) for one in page]
    earlier = [one for one in versions if one[0] <= written]
    return Comment(
        author_id=parse_int(author.get("id"), least=1) if isinstance(author, dict) else 0,
        text=str(raw.get("body") or "") if raw.get("system") is False else "",
        commit=max(earlier)[2] if earlier else "",
    )


async def find_note(transport: Transport, project: str, iid: int, marker: str, user: int) -> Note | None:
    """Return the first note of a user that begins with the marker: what follows may quote anything."""
    for number in range(1, MOST_PAGES + 1):
        query = {"per_page": str(PAGE_SIZE), "page": str(number)}
        path = f"{_path(project, iid)}/discussions"
        page = parse_list((await transport.fetch("GET", path, query=query)).get_data())
        for discussion in map(parse_object, page):
            for note in map(parse_object, parse_list(discussion.get("notes"))[:1]):
                author = note.get("author")
                own = isinstance(author, dict) and author.get("id") == user and note.get("system") is False
                if own and str(note.get("body")).startswith(marker):
                    return _parse_note(note, discussion)
        if len(page) < PAGE_SIZE:
            break
    return None


async def create_note(transport: Transport, project: str, iid: int, body: str, *, discussion: bool) -> Note:
    """Write a note."""
    path = f"{_path(project, iid)}/{'discussions' if discussion else 'notes'}"
    raw = parse_object((await transport.fetch("POST", path, body={"body": body})).get_data())
    if not discussion:
        return _parse_note(raw, {})
    notes = parse_list(raw.get("notes"))
    if not notes:
        raise Unreadable("a discussion without notes")
    return _parse_note(parse_object(notes[0]), raw)


async def update_note(transport: Transport, project: str, iid: int, note: int, body: str) -> None:
    """Replace the text of a note."""
    (await transport.fetch("PUT", f"{_path(project, iid)}/notes/{note}", body={"body": body})).get_data()


async def resolve_discussion(transport: Transport, project: str, iid: int, discussion: str, *, resolved: bool) -> None:
    """Resolve a discussion, or open it again."""
    path = f"{_path(project, iid)}/discussions/{quote(discussion, safe='')}"
    (await transport.fetch("PUT", path, body={"resolved": resolved})).get_data()


def _path(project: str, iid: int) -> str:
    return f"/projects/{quote(project, safe='')}/merge_requests/{iid}"


def _parse_merge_request(raw: dict[str, Any]) -> MergeRequest:
    head = raw.get("head_pipeline")
    commit = raw.get("sha")
    return MergeRequest(
        iid=parse_int(raw.get("iid"), least=1),
        commit=str(commit) if is_commit(commit) else "",
        from_fork=raw.get("source_project_id") != raw.get("target_project_id"),
        branch=make_name(raw.get("source_branch")),
        pipeline=_parse_pipeline(head) if isinstance(head, dict) else None,
    )


def _parse_pipeline(raw: dict[str, Any]) -> Pipeline | None:
    commit, ref = raw.get("sha"), make_name(raw.get("ref"))
    return Pipeline(parse_int(raw.get("id"), least=1), str(commit), ref) if is_commit(commit) and ref else None


def _parse_version(raw: dict[str, Any]) -> tuple[datetime, int, str]:
    """Return when a version was made, its number, and its commit."""
    commit = raw.get("head_commit_sha")
    if not is_commit(commit):
        raise Unreadable("a version without a commit")
    return parse_time(raw.get("created_at")), parse_int(raw.get("id"), least=1), str(commit)


def _parse_note(raw: dict[str, Any], discussion: dict[str, Any]) -> Note:
    name = discussion.get("id")
    resolvable = raw.get("resolvable") is True and isinstance(name, str) and 0 < len(name) <= 64
    return Note(
        id=parse_int(raw.get("id"), least=1),
        body=str(raw.get("body") or ""),
        discussion=str(name) if resolvable else None,
        resolved=raw.get("resolved") is True,
    )
