"""Webhooks of projects and groups, what they were sent, and sending it again by hand.

GitLab keeps sent events for a week. A resent event has the same Idempotency-Key, and a separate log entry.
Source: https://docs.gitlab.com/api/project_webhooks/, https://docs.gitlab.com/api/group_webhooks/
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from .access import authorize, open_project, refuse, refuse_parameter
from .clock import build_time
from .events.sample import NothingToTellError, build_sample
from .model import MAINTAINER, OWNER, Delivery, Hook, User
from .paging import build_page
from .params import get_flag, get_text, read_params
from .rates import Rates
from .state import GitLabState
from .webhooks import Webhooks, compute_is_disabled

EVENTS = (
    "push_events", "tag_push_events", "merge_requests_events", "note_events", "confidential_note_events", "job_events",
    "pipeline_events", "deployment_events",
)  # fmt: skip
TESTS_PER_MINUTE = 5
"""For each project and user."""
KEPT_SECONDS = 7 * 24 * 3600
MOST_PER_PAGE = 20
CATEGORIES = {"successful": range(200, 300), "client_failure": range(400, 500), "server_failure": range(500, 600)}
NO_ANSWER = "internal error"
"""Status of an event without an answer; it counts as a failure of the server."""


class HooksApi:
    """Routes that take an access token."""

    def __init__(self, state: GitLabState, webhooks: Webhooks) -> None:
        self._state = state
        self._webhooks = webhooks
        self._rates = Rates(state)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        for owner in ("projects/{project}", "groups/{group}"):
            hooks = f"/api/v4/{owner}/hooks"
            hook = rf"{hooks}/{{hook:\d+}}"
            router.add_get(hooks, self.list_hooks)
            router.add_post(hooks, self.create_hook)
            router.add_get(hook, self.get_hook)
            router.add_put(hook, self.update_hook)
            router.add_delete(hook, self.delete_hook)
            router.add_get(f"{hook}/events", self.list_events)
            router.add_post(rf"{hook}/events/{{event:\d+}}/resend", self.resend)
        router.add_post(r"/api/v4/projects/{project}/hooks/{hook:\d+}/test/{trigger}", self.test)

    async def list_hooks(self, request: web.Request) -> web.Response:
        """List the webhooks of a project or group."""
        scope, owner, _ = self._open(request, "api", "read_api")
        hooks = [one for one in self._state.hooks.values() if (one.scope, one.owner_id) == (scope, owner)]
        return build_page(request, self._state.external_url, [self._build_hook(hook) for hook in hooks])

    async def create_hook(self, request: web.Request) -> web.Response:
        """Create a webhook."""
        scope, owner, _ = self._open(request, "api")
        params = await read_params(request)
        get_text(params, "url", required=True)
        hook = Hook(self._state.next_id("hook"), scope, owner, "", created_at=self._state.clock.now())
        _change(hook, {"push_events": True} | params)
        self._state.hooks[hook.id] = hook
        return web.json_response(self._build_hook(hook), status=201)

    async def get_hook(self, request: web.Request) -> web.Response:
        """Return a webhook, without its secrets."""
        hook, _ = self._get_hook(request, "api", "read_api")
        return web.json_response(self._build_hook(hook))

    async def update_hook(self, request: web.Request) -> web.Response:
        """Change a webhook."""
        hook, _ = self._get_hook(request, "api")
        _change(hook, await read_params(request))
        return web.json_response(self._build_hook(hook))

    async def delete_hook(self, request: web.Request) -> web.Response:
        """Delete a webhook, with what it was sent."""
        hook, _ = self._get_hook(request, "api")
        del self._state.hooks[hook.id]
        return web.Response(status=204)

    async def list_events(self, request: web.Request) -> web.Response:
        """List what a webhook was sent within a week, the latest first."""
        hook, _ = self._get_hook(request, "api", "read_api")
        if (
            not request.query.get("per_page", "1").isdecimal()
            or int(request.query.get("per_page", "1")) > MOST_PER_PAGE
        ):
            raise refuse_parameter("per_page does not have a valid value")
        wanted = [text for text in request.query.get("status", "").split(",") if text]
        if any(text not in CATEGORIES and not text.isdecimal() for text in wanted):
            raise refuse_parameter("status does not have a valid value")
        since = self._state.clock.now() - KEPT_SECONDS
        found = [one for one in self._list_deliveries(hook) if one.at >= since]
        if wanted:
            found = [one for one in found if any(_compute_is_of(one, text) for text in wanted)]
        found.sort(key=lambda one: (one.at, one.id), reverse=True)
        return build_page(request, self._state.external_url, [_build_event(hook, one) for one in found])

    async def resend(self, request: web.Request) -> web.Response:
        """Send an event again, to where the webhook leads now; answers what the receiver answered."""
        hook, user = self._get_hook(request, "api")
        self._rates.count(("resend", hook.id, user.id), self._state.settings.resends_per_minute)
        number = int(request.match_info["event"])
        delivery = next((one for one in self._list_deliveries(hook) if one.id == number), None)
        if delivery is None:
            raise refuse(404, "404 Not found")
        if delivery.url != hook.url:
            raise refuse(422, "The hook URL has changed, and this log entry cannot be retried")
        if compute_is_disabled(hook, self._state.clock.now()):
            raise refuse(422, "Hook disabled")
        again = await self._webhooks.deliver(hook, delivery.event, delivery.body, delivery.idempotency_key)
        if again.status is None:
            raise refuse(422, again.error)
        return web.json_response({"response_status": again.status}, status=201)

    async def test(self, request: web.Request) -> web.Response:
        """Send an event of something that is there, also to a webhook that is disabled; success enables it again."""
        project, user = open_project(self._state, request, MAINTAINER, "api")
        hook, _ = self._get_hook(request, "api")
        self._rates.count(("test", project.id, user.id), TESTS_PER_MINUTE)
        if request.match_info["trigger"] not in EVENTS:
            raise refuse_parameter("trigger does not have a valid value")
        try:
            event = build_sample(self._state, project, user, request.match_info["trigger"])
        except NothingToTellError as error:
            raise refuse(422, str(error)) from error
        delivery = await self._webhooks.deliver(hook, event.header, json.dumps(event.body).encode())
        if delivery.status not in CATEGORIES["successful"]:
            raise refuse(422, delivery.error or delivery.answer)
        return web.json_response({"message": "201 Created"}, status=201)

    def _open(self, request: web.Request, *scopes: str) -> tuple[str, int, User]:
        """Return whose webhooks are wanted, and who asks."""
        if "project" in request.match_info:
            project, user = open_project(self._state, request, MAINTAINER, *scopes)
            return "project", project.id, user
        user = authorize(self._state, request, *scopes)
        group = self._state.find_group(unquote(request.match_info["group"]))
        access = self._state.compute_access(user, group.full_path) if group else 0
        if group is None or not access:
            raise refuse(404, "404 Group Not Found")
        if access < OWNER:
            raise refuse(403, "403 Forbidden")
        return "group", group.id, user

    def _get_hook(self, request: web.Request, *scopes: str) -> tuple[Hook, User]:
        scope, owner, user = self._open(request, *scopes)
        hook = self._state.hooks.get(int(request.match_info["hook"]))
        if hook is None or (hook.scope, hook.owner_id) != (scope, owner):
            raise refuse(404, "404 Not found")
        return hook, user

    def _list_deliveries(self, hook: Hook) -> list[Delivery]:
        """Those that are over; GitLab logs them then."""
        return [one for one in self._state.deliveries.values() if one.hook_id == hook.id and (one.status or one.error)]

    def _build_hook(self, hook: Hook) -> dict[str, Any]:
        disabled = compute_is_disabled(hook, self._state.clock.now())
        resting = "disabled" if hook.permanently_disabled else "temporarily_disabled"
        return {
            "id": hook.id,
            "url": hook.url,
            "name": None,
            "description": None,
            f"{hook.scope}_id": hook.owner_id,
            **{event: event in hook.events for event in EVENTS},
            "enable_ssl_verification": True,
            "alert_status": resting if disabled else "executable",
            "disabled_until": build_time(hook.disabled_until),
            "url_variables": [],
            "custom_headers": [],
            "created_at": build_time(hook.created_at),
        }


def _change(hook: Hook, params: dict[str, Any]) -> None:
    """Raises a 422 for what is no URL."""
    url = get_text(params, "url")
    if url is not None and not url.startswith(("http://", "https://")):
        raise refuse_parameter("Invalid url given", 422)
    hook.url = url or hook.url
    hook.events = frozenset(event for event in EVENTS if get_flag(params, event, event in hook.events))
    hook.token = get_text(params, "token") or hook.token
    hook.signing_token = get_text(params, "signing_token") or hook.signing_token


def _compute_is_of(delivery: Delivery, wanted: str) -> bool:
    """Return whether a delivery was answered by a status, or one of a kind."""
    if delivery.status is None:
        return wanted == "server_failure"
    return delivery.status in CATEGORIES.get(wanted, (int(wanted),) if wanted.isdecimal() else ())


def _build_event(hook: Hook, delivery: Delivery) -> dict[str, Any]:
    hidden = {"X-Gitlab-Token": "[REDACTED]"} if hook.token else {}
    return {
        "id": delivery.id,
        "url": delivery.url,
        "trigger": delivery.event.lower().replace(" ", "_") + "s",
        "request_headers": delivery.headers | hidden,
        "request_data": json.loads(delivery.body),
        "response_headers": delivery.answer_headers,
        "response_body": delivery.answer,
        "execution_duration": delivery.seconds,
        "response_status": NO_ANSWER if delivery.status is None else str(delivery.status),
        "created_at": build_time(delivery.at),
    }
