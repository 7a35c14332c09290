"""The client for webhooks and what they were sent, by REST.

Sources: https://docs.gitlab.com/api/project_webhooks/, https://docs.gitlab.com/api/group_webhooks/,
app/services/web_hook_service.rb of gitlab-org/gitlab
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from yarl import URL

from bessemer.foreign import Unreadable, make_line, parse_int, parse_time
from bessemer.gitlab.answers import AnswerTooLarge
from bessemer.gitlab.client import run_call
from bessemer.gitlab.hooklog import Delivery, Hook
from bessemer.gitlab.jobs import parse_list, parse_object
from bessemer.gitlab.protocol import Scope
from bessemer.gitlab.transport import Transport

PAGE_SIZES = (20, 5, 1)
"""Entries of a page, which have the whole bodies of events; GitLab gives at most 20. Where a page is too large, the
next size is tried, and a single entry that is too large is left out."""
MOST_HOOKS = 100
"""Webhooks of a project that are looked at."""
MOST_REQUESTS = 30
"""Of one call; with pages of usual size, the latest 600 entries of a webhook are looked at."""


class HookLogClient:
    """The webhooks of one GitLab's projects and groups, by REST."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list_hooks(self, scope: Scope, path: str) -> list[Hook]:
        """List the webhooks whose URL ends with a path."""

        async def read() -> list[Hook]:
            answer = await self._transport.fetch("GET", _path(scope), query={"per_page": str(MOST_HOOKS)})
            raw = [one for one in map(parse_object, parse_list(answer.get_data())) if _leads_to(one.get("url"), path)]
            state = "alert_status"
            return [Hook(parse_int(one.get("id"), least=1), make_line(str(one.get(state) or ""), 32)) for one in raw]

        return await run_call(read())

    async def list_deliveries(self, scope: Scope, hook: int, since: datetime) -> list[Delivery]:
        """List what a webhook was sent since a time, the latest first."""

        async def read() -> list[Delivery]:
            found: list[Delivery] = []
            async for page in self._iterate(f"{_path(scope)}/{hook}/events"):
                entries = [_parse_delivery(one) for one in page]
                found += [one for one in entries if one.at >= since]
                if any(one.at < since for one in entries):
                    break
            return found

        return await run_call(read())

    async def resend(self, scope: Scope, hook: int, delivery: int) -> None:
        """Have an event sent again."""

        async def send() -> None:
            path = f"{_path(scope)}/{hook}/events/{delivery}/resend"
            (await self._transport.fetch("POST", path)).get_data()

        await run_call(send())

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def _iterate(self, path: str) -> AsyncIterator[list[dict[str, Any]]]:
        done, sizes = 0, list(PAGE_SIZES)
        for _ in range(MOST_REQUESTS):
            size = sizes[0]
            query = {"per_page": str(size), "page": str(done // size + 1)}
            try:
                page = parse_list((await self._transport.fetch("GET", path, query=query)).get_data())
            except AnswerTooLarge:
                if len(sizes) > 1:
                    sizes.pop(0)
                else:
                    done += 1
                continue
            yield [parse_object(one) for one in page[:size]]
            done += size
            if len(page) < size:
                return


def _path(scope: Scope) -> str:
    return f"/{scope.type.value.lower()}s/{quote(scope.path, safe='')}/hooks"


def _leads_to(url: object, path: str) -> bool:
    try:
        return isinstance(url, str) and URL(url).path.rstrip("/").endswith(path)
    except ValueError:
        return False


def _parse_delivery(raw: dict[str, Any]) -> Delivery:
    headers, body = raw.get("request_headers"), raw.get("request_data")
    names = {str(name).lower(): value for name, value in headers.items()} if isinstance(headers, Mapping) else {}
    key = names.get("idempotency-key") or names.get("webhook-id")
    kind = body.get("object_kind") if isinstance(body, Mapping) else None
    answer = raw.get("response_status")
    if not isinstance(answer, str | int):
        raise Unreadable("response_status is not a status")
    return Delivery(
        id=parse_int(raw.get("id"), least=1),
        key=make_line(key, 128) if isinstance(key, str) else "",
        kind=make_line(kind, 32) if isinstance(kind, str) else "",
        answer=make_line(str(answer), 32),
        at=parse_time(raw.get("created_at")),
    )
