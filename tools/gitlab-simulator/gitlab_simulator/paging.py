"""Pages of lists, by number: https://docs.gitlab.com/api/rest/#offset-based-pagination"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from .access import refuse

PER_PAGE, MOST_PER_PAGE = 20, 100


def build_page(request: web.Request, external_url: str, items: Sequence[dict[str, Any]]) -> web.Response:
    """Return the page that the request asks for, with the headers that lead to the others.

    Raises a 400 for a page that is no number from 1 on.
    """
    page, size = _read_number(request, "page", 1), min(MOST_PER_PAGE, _read_number(request, "per_page", PER_PAGE))
    pages = max(1, -(-len(items) // size))
    near = {"first": 1, "prev": page - 1, "next": page + 1, "last": pages}
    links = [
        f'<{external_url}{request.rel_url.update_query(page=number, per_page=size)}>; rel="{name}"'
        for name, number in near.items()
        if 1 <= number <= pages
    ]
    headers = {
        "Link": ", ".join(links), "X-Page": str(page), "X-Per-Page": str(size), "X-Total": str(len(items)),
        "X-Total-Pages": str(pages), "X-Next-Page": str(page + 1) if page < pages else "",
        "X-Prev-Page": str(page - 1) if page > 1 else "",
    }  # fmt: skip
    return web.json_response(list(items[(page - 1) * size : page * size]), headers=headers)


def _read_number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise refuse(400, f"{name} is invalid")
    return int(text)
