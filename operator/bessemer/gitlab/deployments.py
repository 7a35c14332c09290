"""Deployments to environments by REST. Source: https://docs.gitlab.com/api/deployments/"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from bessemer.foreign import parse_int
from bessemer.gitlab.jobs import make_name, parse_list, parse_object
from bessemer.gitlab.reports import Deployment, NewDeployment
from bessemer.gitlab.transport import Transport

LATEST = 50
"""Deployments to an environment that are looked at."""


async def find_deployment(
    transport: Transport, project: str, environment: str, commit: str, user: int
) -> Deployment | None:
    """Return the latest deployment of a commit to an environment by a user."""
    query = {"environment": environment, "order_by": "id", "sort": "desc", "per_page": str(LATEST)}
    page = parse_list((await transport.fetch("GET", _path(project), query=query)).get_data())
    for raw in map(parse_object, page):
        author = raw.get("user")
        own = isinstance(author, dict) and author.get("id") == user and raw.get("sha") == commit
        if own:
            return _parse(raw)
    return None


async def create_deployment(transport: Transport, project: str, deployment: NewDeployment) -> Deployment:
    """Create a deployment; GitLab creates the environment if there is none of that name."""
    body = {
        "environment": deployment.environment,
        "sha": deployment.commit,
        "ref": deployment.ref,
        "tag": deployment.tag,
        "status": deployment.state,
    }
    return _parse(parse_object((await transport.fetch("POST", _path(project), body=body)).get_data()))


async def update_deployment(transport: Transport, project: str, number: int, state: str) -> None:
    """Change the state of a deployment."""
    (await transport.fetch("PUT", f"{_path(project)}/{number}", body={"status": state})).get_data()


def _path(project: str) -> str:
    return f"/projects/{quote(project, safe='')}/deployments"


def _parse(raw: dict[str, Any]) -> Deployment:
    return Deployment(parse_int(raw.get("id"), least=1), make_name(raw.get("status")))
