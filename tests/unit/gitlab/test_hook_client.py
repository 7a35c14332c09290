"""GitLab's list of what it has sent to a webhook, whatever stands in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from bessemer.api.references import ScopeType
from bessemer.gitlab.answers import Answer, AnswerTooLarge
from bessemer.gitlab.hookclient import PAGE_SIZES, HookLogClient
from bessemer.gitlab.protocol import GitLabUnavailable, Scope

SIM = Scope(ScopeType.PROJECT, "hpc/sim")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def build_entry(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "request_headers": {"Idempotency-Key": f"key-{number}"},
        "request_data": {"object_kind": "push"},
        "response_status": "502",
        "created_at": "2026-03-02T06:00:00Z",
    } | changes


class Transport:
    """Answers with pages of entries; one that has a large entry is too large."""

    def __init__(self, entries: list[Any], large: int = -1) -> None:
        self.entries, self.large = entries, large

    async def fetch(self, _method: str, _path: str, *, query: Mapping[str, str]) -> Answer:
        size, number = int(query["per_page"]), int(query.get("page", "1"))
        page = self.entries[(number - 1) * size : number * size]
        if any(isinstance(one, dict) and one.get("id") == self.large for one in page):
            raise AnswerTooLarge("an answer of more than 4 MiB")
        return Answer(200, {}, page)


def connect(*arguments: Any) -> HookLogClient:
    transport: Any = Transport(*arguments)
    return HookLogClient(transport)


async def test_an_entry_that_is_too_large_is_left_out_and_no_other() -> None:
    count = PAGE_SIZES[0] + 7
    client = connect([build_entry(number) for number in range(1, count + 1)], PAGE_SIZES[0] + 3)
    found = await client.list_deliveries(SIM, 1, LONG_AGO)
    assert [one.id for one in found] == [number for number in range(1, count + 1) if number != PAGE_SIZES[0] + 3]


async def test_an_event_has_the_key_of_its_signature_or_none() -> None:
    headers: list[Any] = [{"webhook-id": "signed"}, {}, None, {"IDEMPOTENCY-KEY": 3}]
    client = connect([build_entry(number + 1, request_headers=one) for number, one in enumerate(headers)])
    assert [one.key for one in await client.list_deliveries(SIM, 1, LONG_AGO)] == [
        "signed",
        "",
        "",
        "",
    ]


@pytest.mark.parametrize(("answer", "arrived"), [("204", True), (302, True), ("internal error", False), (404, False)])
async def test_what_gitlab_counts_as_delivered_has_arrived(answer: str | int, arrived: bool) -> None:
    client = connect([build_entry(1, response_status=answer)])
    assert [one.arrived for one in await client.list_deliveries(SIM, 1, LONG_AGO)] == [arrived]


@pytest.mark.parametrize(
    "entry", [None, [], {}, build_entry(0), build_entry(1, created_at="x"), build_entry(1, id="x")]
)
async def test_what_is_no_entry_is_a_failure_and_not_an_empty_list(entry: Any) -> None:
    with pytest.raises(GitLabUnavailable):
        await connect([entry]).list_deliveries(SIM, 1, LONG_AGO)


@pytest.mark.parametrize("url", [None, 3, "http://[", "", "https://bessemer/v1/triggers/lab/site2"])
async def test_a_webhook_to_another_place_is_not_ours(url: Any) -> None:
    assert await connect([{"id": 1, "url": url}]).list_hooks(SIM, "/v1/triggers/lab/site") == []
