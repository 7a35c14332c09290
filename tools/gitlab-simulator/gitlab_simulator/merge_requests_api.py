"""Merge requests and the notes on them.

Source: https://docs.gitlab.com/api/merge_requests/#get-single-mr, https://docs.gitlab.com/api/notes/#merge-requests
"""

from __future__ import annotations

from aiohttp import web

from .access import open_project, refuse, refuse_parameter
from .model import MAINTAINER, REPORTER, MergeRequest, Note, Project, User
from .paging import build_page
from .params import get_flag, get_text, read_params
from .repository_views import build_merge_request, build_note
from .state import GitLabState

BASE = r"/api/v4/projects/{project}/merge_requests/{iid:\d+}"
LONGEST = 1_000_000
"""Characters of a note."""


class MergeRequestsApi:
    """Routes that take an access token."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        router.add_get(BASE, self.get_merge_request)
        router.add_get(f"{BASE}/notes", self.list_notes)
        router.add_post(f"{BASE}/notes", self.create_note)
        note = rf"{BASE}/notes/{{note:\d+}}"
        router.add_get(note, self.get_note)
        router.add_put(note, self.update_note)
        router.add_delete(note, self.delete_note)

    async def get_merge_request(self, request: web.Request) -> web.Response:
        """Return one."""
        project, merge_request, _ = self._open(request)
        return web.json_response(build_merge_request(self._state, project, merge_request))

    async def list_notes(self, request: web.Request) -> web.Response:
        """List the notes on one, the latest first unless it is wanted otherwise."""
        project, merge_request, _ = self._open(request)
        order, sort = request.query.get("order_by", "created_at"), request.query.get("sort", "desc")
        for name, value, allowed in (
            ("order_by", order, ("created_at", "updated_at")),
            ("sort", sort, ("asc", "desc")),
        ):
            if value not in allowed:
                raise refuse_parameter(f"{name} does not have a valid value")
        notes = sorted(
            merge_request.notes.values(), key=lambda one: (getattr(one, order), one.id), reverse=sort == "desc"
        )
        shown = [build_note(self._state, project, merge_request, note) for note in notes]
        return build_page(request, self._state.external_url, shown)

    async def create_note(self, request: web.Request) -> web.Response:
        """Write a note."""
        project, merge_request, user = self._open(request, "api")
        params = await read_params(request)
        body = _check_body(get_text(params, "body", required=True) or "")
        internal = get_flag(params, "internal") or get_flag(params, "confidential")
        now = self._state.clock.now()
        note = Note(self._state.next_id("note"), body, user.id, now, now, internal)
        merge_request.notes[note.id] = note
        return web.json_response(build_note(self._state, project, merge_request, note), status=201)

    async def get_note(self, request: web.Request) -> web.Response:
        """Return a note."""
        project, merge_request, _ = self._open(request)
        note = _get_note(request, merge_request)
        return web.json_response(build_note(self._state, project, merge_request, note))

    async def update_note(self, request: web.Request) -> web.Response:
        """Change a note."""
        project, merge_request, user = self._open(request, "api")
        note = _get_note(request, merge_request)
        self._check_may_change(project, note, user)
        body = get_text(await read_params(request), "body")
        if body is not None:
            if not body.strip():
                raise refuse_parameter("body is empty")
            note.body, note.updated_at = _check_body(body), self._state.clock.now()
        return web.json_response(build_note(self._state, project, merge_request, note))

    async def delete_note(self, request: web.Request) -> web.Response:
        """Delete a note."""
        project, merge_request, user = self._open(request, "api")
        note = _get_note(request, merge_request)
        self._check_may_change(project, note, user)
        del merge_request.notes[note.id]
        return web.Response(status=204)

    def _open(self, request: web.Request, *scopes: str) -> tuple[Project, MergeRequest, User]:
        project, user = open_project(self._state, request, REPORTER, *scopes)
        merge_request = project.merge_requests.get(int(request.match_info["iid"]))
        if merge_request is None:
            raise refuse(404, "404 Not found")
        return project, merge_request, user

    def _check_may_change(self, project: Project, note: Note, user: User) -> None:
        """Its author may, and who maintains the project."""
        if note.author_id != user.id and self._state.compute_access(user, project.full_path) < MAINTAINER:
            raise refuse(403, "403 Forbidden")


def _get_note(request: web.Request, merge_request: MergeRequest) -> Note:
    note = merge_request.notes.get(int(request.match_info["note"]))
    if note is None:
        raise refuse(404, "404 Not found")
    return note


def _check_body(body: str) -> str:
    wrong = "can't be blank" if not body.strip() else ""
    if len(body) > LONGEST:
        wrong = f"is too long (maximum is {LONGEST} characters)"
    if wrong:
        raise refuse(400, f'400 Bad request - Note {{:note=>["{wrong}"]}}')
    return body
