"""Lists of GitLab's REST API, page by page up to a bound."""

from __future__ import annotations

from typing import Any

import gitlab

PAGE_SIZE = 100
"""The most that GitLab gives. Source: https://docs.gitlab.com/api/rest/#pagination"""
MAX_PAGES = 20
"""Of one list; a queue of more than two thousand jobs is more than any pool has pods for."""


def list_pages(api: gitlab.Gitlab, path: str, query: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    """Read a list; tell whether that is all of it. Raises python-gitlab's errors."""
    found: list[dict[str, Any]] = []
    for page in range(1, MAX_PAGES + 1):
        options = {**query, "page": page, "per_page": PAGE_SIZE}
        raw: Any = api.http_list(path, query_data=options, get_all=False)
        found += raw
        if len(raw) < PAGE_SIZE:
            return found, True
    return found, False
