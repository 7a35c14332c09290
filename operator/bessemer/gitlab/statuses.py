"""Commit statuses by REST.

Sources: https://docs.gitlab.com/api/commits/#commit-status, and app/services/ci/create_commit_status_service.rb and
app/models/commit_status.rb of gitlab-org/gitlab for what can follow on what.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from bessemer.foreign import Unreadable, parse_int
from bessemer.gitlab.failures import find_message
from bessemer.gitlab.jobs import make_name, parse_list, parse_object
from bessemer.gitlab.reports import CommitStatus, GitLabBusy, NewStatus, State, Target
from bessemer.gitlab.transport import Transport

PAGE_SIZE = 100
MOST_PAGES = 20
"""Of the external statuses of one commit."""
_STAYS = re.compile(r"Cannot transition status via :[a-z_]+ from :([a-z_]+)")


async def list_statuses(transport: Transport, target: Target, prefix: str) -> list[CommitStatus]:
    """List the current external statuses whose names begin with the prefix, the earliest first."""
    path = f"/projects/{quote(target.project, safe='')}/repository/commits/{target.commit}/statuses"
    found: list[CommitStatus] = []
    for number in range(1, MOST_PAGES + 1):
        query = {"ref": target.ref, "stage": "external", "per_page": str(PAGE_SIZE), "page": str(number)}
        page = parse_list((await transport.fetch("GET", path, query=query)).get_data())
        parsed = (_parse(one) for one in page)
        found += [one for one in parsed if one is not None and one.name.startswith(prefix)]
        if len(page) < PAGE_SIZE:
            break
    return found


async def set_status(transport: Transport, target: Target, status: NewStatus) -> CommitStatus:
    """Report a status; return what GitLab has afterwards."""
    path = f"/projects/{quote(target.project, safe='')}/statuses/{target.commit}"
    body: dict[str, Any] = {"state": status.state.value, "name": status.name, "ref": target.ref}
    optional = {"pipeline_id": target.pipeline, "description": status.description or None, "target_url": status.url}
    body |= {name: value for name, value in optional.items() if value is not None}
    answer = await transport.fetch("POST", path, body=body)
    said = find_message(answer.status, answer.data) or ""
    if answer.status == HTTPStatus.CONFLICT:
        raise GitLabBusy("another update of this commit's statuses is in progress")
    stays = _STAYS.search(said) if answer.status == HTTPStatus.BAD_REQUEST else None
    state = _parse_state(stays[1]) if stays is not None else None
    if state is not None:
        return CommitStatus(status.name, state, target.pipeline)
    found = _parse(answer.get_data())
    if found is None:
        raise Unreadable("a status in an unknown state")
    return found


def _parse(raw: object) -> CommitStatus | None:
    """Return a status; None for one in a state that is never reported, such as manual."""
    one = parse_object(raw)
    state, number = _parse_state(one.get("status")), one.get("pipeline_id")
    if state is None:
        return None
    return CommitStatus(make_name(one.get("name")), state, None if number is None else parse_int(number, least=1))


def _parse_state(text: object) -> State | None:
    return next((state for state in State if state == text), None)
