"""Follow a runner pool: one line in a terminal that changes, one line for each change elsewhere."""

from __future__ import annotations

import asyncio
from time import monotonic

from rich.console import Console

from bessemer.cli.session import Session
from bessemer.clock import get_now
from bessemer.runnerpool.resource import RunnerPool
from bessemer.runnerpool.status import RunnerPoolStatus

POLL_SECONDS = 0.5
EXIT_SERVING, EXIT_NOT_READY, EXIT_GONE = 0, 1, 2
BAR_WIDTH = 40
_CONDITIONS = ("Ready", "RunnerRegistered", "DemandKnown", "ScalingLimited", "Draining")


async def watch_pool(session: Session, name: str, seconds: float | None, console: Console | None = None) -> int:
    """Follow a pool until it is gone or the time is up; give the exit code: whether it was Ready at the end."""
    console = console or Console()
    pool: RunnerPool | None = await session.require_pool(name)
    end = None if seconds is None else monotonic() + seconds
    last = RunnerPoolStatus()
    while pool is not None:
        for line in describe_changes(last, pool.status):
            console.print(f"{get_now():%H:%M:%S} {line}", markup=False, highlight=False, soft_wrap=True)
        last = pool.status
        if end is not None and monotonic() >= end:
            ready = last.condition("Ready")
            return EXIT_SERVING if ready is not None and ready.status == "True" else EXIT_NOT_READY
        await asyncio.sleep(POLL_SECONDS)
        pool = await session.get_pool(name)
    console.print(f"{get_now():%H:%M:%S} RunnerPool {name} is gone", highlight=False)
    return EXIT_GONE


def describe_changes(before: RunnerPoolStatus, after: RunnerPoolStatus) -> list[str]:
    """Tell in lines what has changed between two statuses."""
    lines = []
    for type_ in _CONDITIONS:
        old, new = before.condition(type_), after.condition(type_)
        if new is not None and (old is None or (old.status, old.reason) != (new.status, new.reason)):
            lines.append(f"{type_}={new.status} ({new.reason})" + (f": {new.message}" if new.message else ""))
    if _count(before) != _count(after) or before.observed_generation == 0:
        lines.append(describe_counts(after))
    return lines


def describe_counts(status: RunnerPoolStatus) -> str:
    """Draw how many jobs wait, and what the pods do: one character each, # runs, + starts, . waits for a job."""
    pods = "#" * status.running + "+" * status.starting + "." * status.idle + "-" * status.draining
    shown = pods if len(pods) <= BAR_WIDTH else pods[: BAR_WIDTH - 1] + ">"
    counts = f"{status.pending} jobs wait; pods: {status.running} run, {status.starting} start, {status.idle} idle"
    return f"|{shown:<{BAR_WIDTH}}| {counts}" + (f", {status.draining} end" if status.draining else "")


def _count(status: RunnerPoolStatus) -> tuple[int, ...]:
    return status.pending, status.starting, status.idle, status.running, status.draining
