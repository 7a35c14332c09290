"""Lists of GitLab's REST API, page by page up to a bound, and how much one call may ask for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bessemer.gitlab.answers import AnswerTooLarge
from bessemer.gitlab.jobs import parse_list
from bessemer.gitlab.transport import Transport

PAGE_SIZE = 100
"""The most that GitLab gives. Source: https://docs.gitlab.com/api/rest/#pagination"""
SMALL_PAGE_SIZE = 10
"""Where a page is too large, as when each job has a commit message of a hundred kilobytes."""
MAX_PAGES = 20
"""Of one list; a queue of more than two thousand jobs is more than any pool has pods for."""
MOST_REQUESTS = 400
"""Of one call, whatever the lists in it are."""
PATIENCE_SECONDS = 60.0
"""How long one call goes on to ask; what it has by then is better than nothing."""


@dataclass
class Effort:
    """What is left of the requests and the time that one call may take."""

    requests: int = MOST_REQUESTS
    until: float = field(default_factory=lambda: time.monotonic() + PATIENCE_SECONDS)

    def spend(self) -> None:
        """Count a request."""
        self.requests -= 1

    @property
    def spent(self) -> bool:
        """Whether nothing more is to be asked for."""
        return self.requests <= 0 or time.monotonic() >= self.until


async def iterate_pages(
    transport: Transport, path: str, query: Mapping[str, str], effort: Effort
) -> AsyncIterator[tuple[list[Any], bool]]:
    """Iterate over the pages of a list, each with whether it is the last one: where none is, a bound was met.

    Raises GitLab's errors, and Unreadable for what is no list.
    """
    size, done = PAGE_SIZE, 0
    for _ in range(MAX_PAGES):
        if effort.spent:
            return
        effort.spend()
        options = {**query, "page": str(done // size + 1), "per_page": str(size)}
        try:
            page = parse_list((await transport.fetch("GET", path, query=options)).get_data())
        except AnswerTooLarge:
            if size == SMALL_PAGE_SIZE:
                raise
            size = SMALL_PAGE_SIZE
            continue
        done += len(page)
        yield page[:size], len(page) < size
        if len(page) < size:
            return
