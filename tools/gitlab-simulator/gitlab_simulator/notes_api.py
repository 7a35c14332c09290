"""The notes on merge requests, and their discussions.

Source: https://docs.gitlab.com/api/notes/#merge-requests, https://docs.gitlab.com/api/discussions/#merge-requests
"""

from __future__ import annotations

from aiohttp import web

from .access import refuse, refuse_parameter
from .discussions import NewNote, add_note, change_note, list_discussions, resolve
from .merge_request_views import build_discussion, build_note
from .merge_requests_api import BASE, open_merge_request
from .model import DEVELOPER, MAINTAINER, MergeRequest, Note, Project, User
from .paging import build_page
from .params import get_flag, get_text, read_params
from .rates import Rates
from .state import GitLabState

LONGEST = 1_000_000
"""Characters of a note."""


class NotesApi:
    """Routes that take an access token."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state
        self._rates = Rates(state)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        router.add_get(f"{BASE}/notes", self.list_notes)
        router.add_post(f"{BASE}/notes", self.create_note)
        discussion = rf"{BASE}/discussions/{{discussion:[0-9a-f]+}}"
        router.add_get(f"{BASE}/discussions", self.list_discussions)
        router.add_post(f"{BASE}/discussions", self.create_discussion)
        router.add_get(discussion, self.get_discussion)
        router.add_put(discussion, self.resolve_discussion)
        router.add_post(f"{discussion}/notes", self.answer)
        for note in (rf"{BASE}/notes/{{note:\d+}}", rf"{discussion}/notes/{{note:\d+}}"):
            router.add_get(note, self.get_note)
            router.add_put(note, self.update_note)
            router.add_delete(note, self.delete_note)

    async def list_notes(self, request: web.Request) -> web.Response:
        """List the notes on one, GitLab's own among them, the latest first unless it is wanted otherwise."""
        project, merge_request, _ = open_merge_request(self._state, request)
        order, sort = request.query.get("order_by", "created_at"), request.query.get("sort", "desc")
        for name, value, allowed in (
            ("order_by", order, ("created_at", "updated_at")),
            ("sort", sort, ("asc", "desc")),
            ("activity_filter", request.query.get("activity_filter", ACTIVITIES[0]), ACTIVITIES),
        ):
            if value not in allowed:
                raise refuse_parameter(f"{name} does not have a valid value")
        shown = {"only_comments": (False,), "only_activity": (True,)}.get(
            request.query.get("activity_filter", ""), (False, True)
        )
        notes = sorted(
            (one for one in merge_request.notes.values() if one.system in shown),
            key=lambda one: (getattr(one, order), one.id),
            reverse=sort == "desc",
        )
        found = [build_note(self._state, project, merge_request, note) for note in notes]
        return build_page(request, self._state.external_url, found)

    async def create_note(self, request: web.Request) -> web.Response:
        """Write a note."""
        project, merge_request, user = open_merge_request(self._state, request, "api")
        params = await read_params(request)
        body = _check_body(get_text(params, "body", required=True) or "")
        internal = get_flag(params, "internal") or get_flag(params, "confidential")
        note = self._add(merge_request, NewNote(body, user.id, internal))
        return web.json_response(build_note(self._state, project, merge_request, note), status=201)

    async def get_note(self, request: web.Request) -> web.Response:
        """Return a note."""
        project, merge_request, _ = open_merge_request(self._state, request)
        note = _get_note(request, merge_request)
        return web.json_response(build_note(self._state, project, merge_request, note))

    async def update_note(self, request: web.Request) -> web.Response:
        """Change a note, or resolve it as part of a discussion."""
        project, merge_request, user = open_merge_request(self._state, request, "api")
        note = _get_note(request, merge_request)
        params = await read_params(request)
        if "resolved" in params and "discussion" in request.match_info:
            self._check_may_resolve(project, merge_request, user)
            resolve(self._state, [note], user.id, resolved=get_flag(params, "resolved"))
            return web.json_response(build_note(self._state, project, merge_request, note))
        self._check_may_change(project, note, user)
        body = get_text(params, "body")
        if body is not None:
            if not body.strip():
                raise refuse_parameter("body is empty")
            change_note(self._state, merge_request, note, _check_body(body), user.id)
        return web.json_response(build_note(self._state, project, merge_request, note))

    async def delete_note(self, request: web.Request) -> web.Response:
        """Delete a note."""
        project, merge_request, user = open_merge_request(self._state, request, "api")
        note = _get_note(request, merge_request)
        self._check_may_change(project, note, user)
        del merge_request.notes[note.id]
        return web.Response(status=204)

    async def list_discussions(self, request: web.Request) -> web.Response:
        """List the discussions, the oldest first; each comment is one."""
        project, merge_request, _ = open_merge_request(self._state, request)
        found = list_discussions(merge_request).values()
        shown = [build_discussion(self._state, project, merge_request, notes) for notes in found]
        return build_page(request, self._state.external_url, shown)

    async def create_discussion(self, request: web.Request) -> web.Response:
        """Begin a discussion, which can be resolved."""
        project, merge_request, user = open_merge_request(self._state, request, "api")
        body = _check_body(get_text(await read_params(request), "body", required=True) or "")
        note = self._add(merge_request, NewNote(body, user.id, resolvable=True))
        return web.json_response(build_discussion(self._state, project, merge_request, [note]), status=201)

    async def get_discussion(self, request: web.Request) -> web.Response:
        """Return one."""
        project, merge_request, _ = open_merge_request(self._state, request)
        notes = _get_discussion(request, merge_request)
        return web.json_response(build_discussion(self._state, project, merge_request, notes))

    async def resolve_discussion(self, request: web.Request) -> web.Response:
        """Resolve one, or take that back."""
        project, merge_request, user = open_merge_request(self._state, request, "api")
        notes = _get_discussion(request, merge_request)
        params = await read_params(request)
        get_text(params, "resolved", required=True)
        self._check_may_resolve(project, merge_request, user)
        resolve(self._state, notes, user.id, resolved=get_flag(params, "resolved"))
        return web.json_response(build_discussion(self._state, project, merge_request, notes))

    async def answer(self, request: web.Request) -> web.Response:
        """Add a note to a discussion; a comment becomes one by it."""
        project, merge_request, user = open_merge_request(self._state, request, "api")
        notes = _get_discussion(request, merge_request)
        body = _check_body(get_text(await read_params(request), "body", required=True) or "")
        for one in notes:
            one.resolvable = True
        new = NewNote(body, user.id, resolvable=True, discussion=notes[0].discussion)
        note = self._add(merge_request, new)
        return web.json_response(build_note(self._state, project, merge_request, note), status=201)

    def _add(self, merge_request: MergeRequest, new: NewNote) -> Note:
        """Write a note. Raises a 429 for a user who has written too many."""
        self._rates.count(("note", 0, new.author_id), self._state.settings.notes_per_minute)
        return add_note(self._state, merge_request, new)

    def _check_may_change(self, project: Project, note: Note, user: User) -> None:
        """Its author may, and who maintains the project; no user may change what GitLab itself says."""
        allowed = note.author_id == user.id or self._state.compute_access(user, project.full_path) >= MAINTAINER
        if note.system or not allowed:
            raise refuse(403, "403 Forbidden")

    def _check_may_resolve(self, project: Project, merge_request: MergeRequest, user: User) -> None:
        """The author of the merge request may, and developers."""
        if merge_request.author_id != user.id and self._state.compute_access(user, project.full_path) < DEVELOPER:
            raise refuse(403, "403 Forbidden")


ACTIVITIES = ("all_notes", "only_comments", "only_activity")


def _get_note(request: web.Request, merge_request: MergeRequest) -> Note:
    note = merge_request.notes.get(int(request.match_info["note"]))
    if note is None or request.match_info.get("discussion", note.discussion) != note.discussion:
        raise refuse(404, "404 Not found")
    return note


def _get_discussion(request: web.Request, merge_request: MergeRequest) -> list[Note]:
    notes = list_discussions(merge_request).get(request.match_info["discussion"])
    if notes is None:
        raise refuse(404, "404 Not found")
    return notes


def _check_body(body: str) -> str:
    wrong = "can't be blank" if not body.strip() else ""
    if len(body) > LONGEST:
        wrong = f"is too long (maximum is {LONGEST} characters)"
    if wrong:
        raise refuse(400, f'400 Bad request - Note {{:note=>["{wrong}"]}}')
    return body
