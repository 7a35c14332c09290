"""Follow a build: a live table in a terminal, one line for each change elsewhere."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol

from rich.console import Console
from rich.live import Live

from bessemer.api.clusterbuild.names import KIND
from bessemer.api.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.api.clusterbuild.status import ClusterBuildStatus, PhaseState
from bessemer.clock import get_now
from bessemer.console.form import Form
from bessemer.console.session import Session, outlast_outages
from bessemer.console.terminal import make_console, print_line
from bessemer.console.values import ChangeWriter
from bessemer.kinds.clusterbuild.resource import CLUSTER_BUILDS
from bessemer.kinds.clusterbuild.view.status import build_view
from bessemer.kube.protocol import Object

POLL_SECONDS = 0.5
EXIT_READY, EXIT_FAILED, EXIT_OTHER = 0, 1, 2


async def watch_build(
    session: Session, name: str, seconds: float | None, form: Form | None = None, console: Console | None = None
) -> int:
    """Follow a build until it is settled, is gone, or the time is up; return the exit code that says how it ended."""
    console = console or make_console()
    await session.require(CLUSTER_BUILDS, KIND, name)
    end = None if seconds is None else monotonic() + seconds
    if form is not None:
        return await _follow(session, name, end, _ValueView(ChangeWriter(form, console.file)))
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            return await _follow(session, name, end, _LiveView(live))
    return await _follow(session, name, end, _LineView(console))


class _View(Protocol):
    def show(self, raw: Object, build: ClusterBuild) -> None: ...

    def say(self, text: str) -> None: ...

    def end(self) -> None: ...


class _LiveView:
    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, _raw: Object, build: ClusterBuild) -> None:
        self._live.update(build_view(build, get_now()), refresh=True)

    def say(self, text: str) -> None:
        print_line(self._live.console, text)

    def end(self) -> None:
        """Leave the last picture."""


class _LineView:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ClusterBuildStatus()

    def show(self, _raw: Object, build: ClusterBuild) -> None:
        for line in describe_changes(self._last, build.status):
            self.say(line)
        self._last = build.status

    def say(self, text: str) -> None:
        print_line(self._console, f"{get_now():%H:%M:%S} {text}")

    def end(self) -> None:
        """Leave the lines."""


class _ValueView:
    def __init__(self, writer: ChangeWriter) -> None:
        self._writer = writer

    def show(self, raw: Object, _build: ClusterBuild) -> None:
        self._writer.show(raw)

    def say(self, text: str) -> None:
        """Leave it to the objects and the exit code."""

    def end(self) -> None:
        self._writer.end()


async def _follow(session: Session, name: str, end: float | None, view: _View) -> int:
    while True:
        raw = await outlast_outages(lambda: session.kubernetes.get_object(CLUSTER_BUILDS, session.namespace, name))
        if raw is None:
            view.say(f"{KIND} {name} is gone")
            view.end()
            return EXIT_OTHER
        build = parse_cluster_build(raw)
        view.show(raw, build)
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
    """Return how a build ended; None while it goes on, or has not been looked at in its present form."""
    ready, progressing = build.status.condition("Ready"), build.status.condition("Progressing")
    if build.status.observed_generation != build.generation or ready is None or progressing is None:
        return None
    if ready.status == "True":
        return EXIT_READY
    settled = progressing.status == "False" and progressing.reason != "Paused"
    return EXIT_FAILED if settled and build.deleted is None else None


def describe_changes(before: ClusterBuildStatus, after: ClusterBuildStatus) -> list[str]:
    """Return in lines what has changed between two statuses."""
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
