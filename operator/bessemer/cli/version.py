"""Show which version the command is, and which the operators of a cluster are."""

from __future__ import annotations

import asyncio
import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from bessemer.cli.target import Target
from bessemer.console.form import Form
from bessemer.console.terminal import build_table, make_console, print_line, print_view
from bessemer.console.values import write_value
from bessemer.errors import BessemerError
from bessemer.kube.protocol import Kind, Object, Refused

if TYPE_CHECKING:
    from bessemer.console.session import Session

SECONDS = 10.0
"""A cluster that gives no answer in this time is not reached."""
DEPLOYMENTS = Kind("apps", "v1", "deployments")
CHART_LABEL = "helm.sh/chart"
CHART = re.compile(r"bessemer-[0-9].*")
"""What the label says on all that the chart installs, whatever its values are."""


def print_version(target: Target | None, form: Form | None) -> None:
    """Print the versions; without a target that of the command alone."""
    operators, problem = (None, "") if target is None else asyncio.run(_read_operators(target))
    client = {"version": version("bessemer")}
    if form is not None:
        write_value({"client": client, "operators": operators, "problem": problem}, form)
        return
    rows = [("client", client["version"], "", "")]
    rows += [("operator", each["version"], each["namespace"], each["image"]) for each in operators or ()]
    console = make_console()
    print_view(console, build_table(("COMPONENT", "VERSION", "NAMESPACE", "IMAGE"), rows))
    if problem:
        print_line(console, f"operator: not known: {problem}")


async def _read_operators(target: Target) -> tuple[list[dict[str, str]] | None, str]:
    """Return the operators of the cluster; None, and why, where they can't be seen."""
    from bessemer.cli.session import open_session  # noqa: PLC0415  the client of Kubernetes, which --client is spared

    try:
        async with asyncio.timeout(SECONDS), open_session(target) as session:
            found = await _list_deployments(session, target.namespace)
    except BessemerError as error:
        return None, error.message
    except TimeoutError:
        return None, f"the cluster gives no answer in {SECONDS:.0f} s"
    operators = [raw for raw in found if CHART.fullmatch(str(raw["metadata"].get("labels", {}).get(CHART_LABEL)))]
    problem = "" if operators else "no Deployment of the chart bessemer is found"
    return [describe_operator(raw) for raw in operators], problem


async def _list_deployments(session: Session, namespace: str | None) -> list[Object]:
    try:
        return await session.kubernetes.list_objects(DEPLOYMENTS, namespace or "", labels=CHART_LABEL)
    except Refused:  # most users may look at their own namespace only
        return await session.kubernetes.list_objects(DEPLOYMENTS, session.namespace, labels=CHART_LABEL)


def describe_operator(raw: Object) -> dict[str, str]:
    """Return name, namespace, version and image of an operator's Deployment."""
    metadata: dict[str, Any] = raw["metadata"]
    containers = raw.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or [{}]
    return {
        "name": str(metadata["name"]),
        "namespace": str(metadata["namespace"]),
        "version": str((metadata.get("labels") or {}).get("app.kubernetes.io/version", "")),
        "image": str(containers[0].get("image", "")),
    }
