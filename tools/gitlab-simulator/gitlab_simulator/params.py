"""The parameters of a request, which GitLab takes from the query and from the body alike."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from .access import refuse, refuse_parameter

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


async def read_params(request: web.Request) -> dict[str, Any]:
    """Read them: a form, as curl sends it, or else JSON, for which kubectl names no type; over those of the query.

    Raises a 400 for a body that is neither.
    """
    query: dict[str, Any] = dict(request.query)
    if request.content_type in FORMS:
        return query | dict(await request.post())
    if not await request.read():
        return query
    try:
        body = await request.json()
    except ValueError as error:
        raise refuse(400, "400 Bad request - the body is no JSON") from error
    return query | (body if isinstance(body, dict) else {})


def get_text(params: dict[str, Any], name: str, *, required: bool = False) -> str | None:
    """Return one of them as text; raises a 400 for one that is required and missing."""
    if params.get(name) is None:
        if required:
            raise refuse_parameter(f"{name} is missing")
        return None
    return str(params[name])


def get_number(params: dict[str, Any], name: str) -> int | None:
    """Return one of them as a whole number; raises a 400 for one that is none."""
    text = get_text(params, name)
    if text is None:
        return None
    if not text.isdecimal():
        raise refuse_parameter(f"{name} is invalid")
    return int(text)


def get_flag(params: dict[str, Any], name: str, default: bool = False) -> bool:
    """Return one of them as true or false; raises a 400 for one that is neither."""
    value = params.get(name, default)
    if str(value).lower() in ("true", "1", "on", "yes"):
        return True
    if str(value).lower() in ("false", "0", "off", "no", ""):
        return False
    raise refuse_parameter(f"{name} is invalid")
