"""Lists of GitLab's REST API, page by page up to a bound, and how much one call may ask for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bessemer.gitlab.answers import AnswerTooLarge
from bessemer.gitlab.jobs import parse_list
from bessemer.gitlab.protocol import PendingJob
from bessemer.gitlab.transport import Transport

PAGE_SIZE = 100
"""The most that GitLab gives. Source: https://docs.gitlab.com/api/rest/#pagination"""
SMALL_PAGE_SIZE = 10
"""Where a page is too large, as when each job has a commit message of a hundred kilobytes."""
MAX_PAGES = 20
"""Of one list; a queue of more than two thousand jobs is more than any pool has pods for."""
MOST_REQUESTS = 400
"""Of one call, whatever the lists in it are."""
MOST_JOBS = 2000
"""That one call returns, in whatever scope."""
MOST_CHARACTERS = 1 << 20
"""Of names, refs and tags of these jobs: two thousand jobs have a fifth of that."""
PATIENCE_SECONDS = 60.0
"""How long one call goes on to ask; what it has by then is better than nothing."""


@dataclass
class Effort:
    """What is left of the requests and the time that one call may take, and of the room for what it returns."""

    requests: int = MOST_REQUESTS
    jobs: int = MOST_JOBS
    characters: int = MOST_CHARACTERS
    until: float = field(default_factory=lambda: time.monotonic() + PATIENCE_SECONDS)

    def spend(self) -> None:
        """Count a request."""
        self.requests -= 1

    def admit(self, jobs: Iterable[PendingJob | None]) -> tuple[list[PendingJob], bool]:
        """Return those jobs that there is room for, and whether these are all; None is none."""
        admitted: list[PendingJob] = []
        for job in jobs:
            if job is None:
                continue
            size = len(job.name) + len(job.ref) + len(job.project) + sum(map(len, job.tags))
            if self.jobs < 1 or self.characters < size:
                self.jobs = 0
                return admitted, False
            self.jobs, self.characters = self.jobs - 1, self.characters - size
            admitted.append(job)
        return admitted, True

    @property
    def full(self) -> bool:
        """Whether there is no room for more jobs."""
        return self.jobs <= 0

    @property
    def spent(self) -> bool:
        """Whether all pages have been requested."""
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
