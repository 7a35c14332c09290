"""Follow a build: a live table in a terminal, one line for each change elsewhere."""

from __future__ import annotations

import asyncio
from datetime import datetime
from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bessemer.api.clusterbuild.resource import ClusterBuild
from bessemer.api.clusterbuild.status import ClusterBuildStatus, PhaseState, PhaseStatus
from bessemer.cli.session import Session
from bessemer.cli.terminal import build_cell, print_line
from bessemer.clock import get_now
from bessemer.kinds.clusterbuild.status import format_elapsed

POLL_SECONDS = 0.5
EXIT_READY, EXIT_FAILED, EXIT_OTHER = 0, 1, 2
_STYLES = {
    PhaseState.PENDING: "dim",
    PhaseState.RUNNING: "bold yellow",
    PhaseState.SUCCEEDED: "green",
    PhaseState.FAILED: "bold red",
    PhaseState.SKIPPED: "dim",
}


async def watch_build(session: Session, name: str, seconds: float | None, console: Console | None = None) -> int:
    """Follow a build until it rests, is gone, or the time is up; give the exit code that says how it ended."""
    console = console or Console()
    await session.require_build(name)
    end = None if seconds is None else monotonic() + seconds
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            return await _follow(session, name, end, _LiveView(live))
    return await _follow(session, name, end, _LineView(console))


class _LiveView:
    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, build: ClusterBuild) -> None:
        self._live.update(build_view(build, get_now()), refresh=True)

    def say(self, text: str) -> None:
        print_line(self._live.console, text)


class _LineView:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ClusterBuildStatus()

    def show(self, build: ClusterBuild) -> None:
        for line in describe_changes(self._last, build.status):
            self.say(line)
        self._last = build.status

    def say(self, text: str) -> None:
        print_line(self._console, f"{get_now():%H:%M:%S} {text}")


async def _follow(session: Session, name: str, end: float | None, view: _LiveView | _LineView) -> int:
    while True:
        build = await session.get_build(name)
        if build is None:
            view.say(f"ClusterBuild {name} is gone")
            return EXIT_OTHER
        view.show(build)
        code = compute_exit_code(build)
        if code is not None:
            ready = build.status.condition("Ready")
            view.say(f"{build.status.phase} after {build.status.elapsed}" + (f": {ready.message}" if ready else ""))
            return code
        if end is not None and monotonic() >= end:
            view.say(f"still {build.status.phase}: the time is up")
            return EXIT_OTHER
        await asyncio.sleep(POLL_SECONDS)


def compute_exit_code(build: ClusterBuild) -> int | None:
    """Give how a build ended; None while it goes on, or has not been looked at in its present form."""
    ready, progressing = build.status.condition("Ready"), build.status.condition("Progressing")
    if build.status.observed_generation != build.generation or ready is None or progressing is None:
        return None
    if ready.status == "True":
        return EXIT_READY
    resting = progressing.status == "False" and progressing.reason != "Paused"
    return EXIT_FAILED if resting and build.deleted is None else None


def describe_changes(before: ClusterBuildStatus, after: ClusterBuildStatus) -> list[str]:
    """Tell in lines what has changed between two statuses."""
    lines = []
    for phase in after.phases:
        last = before.phase_status(phase.name)
        if (last.state, last.attempt) != (phase.state, phase.attempt) and phase.state != PhaseState.PENDING:
            attempt = f" (attempt {phase.attempt})" if phase.attempt > 1 else ""
            said = f": {phase.message or phase.reason}" if phase.state != PhaseState.RUNNING else ""
            lines.append(f"{phase.name}{attempt}: {phase.state}{said}")
    progress = after.progress
    if progress is not None and (before.progress is None or before.progress.message != progress.message):
        steps = f" {progress.done}/{progress.total}" if progress.total else ""
        lines.append(f"{progress.phase}:{steps} {progress.message}")
    old, new = before.condition("Progressing"), after.condition("Progressing")
    told = {line.split(":")[0] for line in lines}
    going_on = new is not None and new.status == "True" and new.reason not in told
    if new is not None and going_on and new.message and (old is None or old.reason != new.reason):
        lines.append(f"{new.reason}: {new.message}")
    nodes_before, nodes = before.nodes, after.nodes
    if (nodes_before.installed, nodes_before.ready, nodes_before.failed) != (
        nodes.installed,
        nodes.ready,
        nodes.failed,
    ):
        lines.append(f"nodes: {nodes.installed}/{nodes.desired} installed, {nodes.ready} ready, {nodes.failed} failed")
    return lines


def build_view(build: ClusterBuild, now: datetime) -> RenderableType:
    """Give the whole picture of a build, for a terminal."""
    status = build.status
    table = Table(
        title=build_cell(f"{build.namespace}/{build.name}  {status.phase}  {_elapsed(status, now)}", "table.title"),
        title_justify="left",
    )
    for column in ("phase", "state", "attempt", "time", "what"):
        table.add_column(column)
    for phase in status.phases:
        what = phase.message or ""
        if status.progress is not None and status.progress.phase == phase.name and phase.state == PhaseState.RUNNING:
            what = status.progress.message
        attempt = str(phase.attempt) if phase.attempt else ""
        state = Text(phase.state.value, style=_STYLES[phase.state])
        table.add_row(phase.name.value, state, attempt, _duration(phase, now), build_cell(what))
    nodes = status.nodes
    bar = Table.grid(padding=(0, 1))
    bar.add_row("nodes", ProgressBar(total=max(1, nodes.desired), completed=nodes.installed, width=40),
                f"{nodes.installed}/{nodes.desired} installed, {nodes.ready} ready, {nodes.failed} failed")  # fmt: skip
    shown = status.progress.nodes if status.progress and status.progress.nodes else nodes.groups
    lines = [
        build_cell(f"  {group.hosts}: {group.state}" + (f" ({group.reason})" if group.reason else ""))
        for group in shown
    ]
    progressing = status.condition("Progressing")
    said = [build_cell(f"{progressing.reason}: {progressing.message}", "dim")] if progressing else []
    return Group(table, bar, *lines[:12], *said)


def _duration(phase: PhaseStatus, now: datetime) -> str:
    if phase.start_time is None or phase.state in (PhaseState.PENDING, PhaseState.SKIPPED):
        return ""
    return format_elapsed(phase.start_time, phase.end_time or now, now)


def _elapsed(status: ClusterBuildStatus, now: datetime) -> str:
    return "" if status.start_time is None else format_elapsed(status.start_time, status.end_time or now, now)
