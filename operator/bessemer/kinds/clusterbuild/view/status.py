"""How a build is: the line of a list, and the whole picture."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from bessemer.api.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.api.clusterbuild.status import ClusterBuildStatus, PhaseState, PhaseStatus
from bessemer.clock import get_now
from bessemer.console.terminal import build_cell, build_table
from bessemer.kinds.clusterbuild.status import format_elapsed

_STYLES = {
    PhaseState.PENDING: "dim",
    PhaseState.RUNNING: "bold yellow",
    PhaseState.SUCCEEDED: "green",
    PhaseState.FAILED: "bold red",
    PhaseState.SKIPPED: "dim",
}
MOST_GROUPS = 12
"""Lines about nodes in the picture of a build; ``-o json`` has all."""


def summarize_build(raw: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return whether a build is ready, why, and how far it is."""
    status = parse_cluster_build(raw).status
    ready, nodes = status.condition("Ready"), status.nodes
    detail = f"{status.phase}, {nodes.ready}/{nodes.desired} nodes ready"
    detail += f", {nodes.failed} failed" if nodes.failed else ""
    detail += f", {status.elapsed}" if status.elapsed else ""
    return (ready.status, ready.reason, detail) if ready else ("Unknown", "", detail)


def build_status(raw: Mapping[str, Any]) -> RenderableType:
    """Return the whole picture of a build with its conditions."""
    build = parse_cluster_build(raw)
    conditions = [(each.type, each.status, each.reason, each.message) for each in build.status.conditions]
    table = build_table(("CONDITION", "STATUS", "REASON", "MESSAGE"), conditions)
    picture = build_view(build, get_now())
    return Group(picture, "", table) if conditions else picture


def build_view(build: ClusterBuild, now: datetime) -> RenderableType:
    """Return phases and nodes of a build, for a terminal."""
    status = build.status
    title = f"clusterbuild/{build.name} in {build.namespace}: {status.phase} {_elapsed(status, now)}".strip()
    rows = [_build_row(status, phase, now) for phase in status.phases]
    nodes = status.nodes
    counts = f"nodes: {nodes.installed}/{nodes.desired} installed, {nodes.ready} ready, {nodes.failed} failed"
    shown = status.progress.nodes if status.progress and status.progress.nodes else nodes.groups
    groups = [f"  {group.hosts}: {group.state}" + (f" ({group.reason})" if group.reason else "") for group in shown]
    more = [f"  and {len(groups) - MOST_GROUPS} more groups"] if len(groups) > MOST_GROUPS else []
    progressing = status.condition("Progressing")
    said = [build_cell(f"{progressing.reason}: {progressing.message}", "dim")] if progressing else []
    return Group(
        build_cell(title, "bold"),
        "",
        build_table(("PHASE", "STATE", "ATTEMPT", "TIME", "MESSAGE"), rows),
        "",
        *map(build_cell, (counts, *groups[:MOST_GROUPS], *more)),
        *said,
    )


def _build_row(status: ClusterBuildStatus, phase: PhaseStatus, now: datetime) -> tuple[str | Text, ...]:
    message = phase.message or ""
    if status.progress is not None and status.progress.phase == phase.name and phase.state == PhaseState.RUNNING:
        steps = f"{status.progress.done}/{status.progress.total} " if status.progress.total else ""
        message = steps + status.progress.message
    attempt = str(phase.attempt) if phase.attempt else ""
    state = build_cell(phase.state.value, _STYLES[phase.state])
    return phase.name.value, state, attempt, _duration(phase, now), message


def _duration(phase: PhaseStatus, now: datetime) -> str:
    if phase.start_time is None or phase.state in (PhaseState.PENDING, PhaseState.SKIPPED):
        return ""
    return format_elapsed(phase.start_time, phase.end_time or now, now)


def _elapsed(status: ClusterBuildStatus, now: datetime) -> str:
    return "" if status.start_time is None else format_elapsed(status.start_time, status.end_time or now, now)
