"""Follow a runner pool: one line for each change of its pods and conditions, and each decision with its reason."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic

from rich.console import Console

from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.status import RunnerPoolStatus
from bessemer.cli.session import Session
from bessemer.cli.terminal import print_line
from bessemer.clock import get_now
from bessemer.kube.protocol import EVENTS, Object

POLL_SECONDS = 0.5
EXIT_SERVING, EXIT_NOT_READY, EXIT_GONE = 0, 1, 2
BAR_WIDTH = 40
_CONDITIONS = ("Ready", "RunnerRegistered", "DemandKnown", "ScalingLimited", "Draining")


async def watch_pool(
    session: Session,
    name: str,
    seconds: float | None,
    console: Console | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """Follow a pool until it is gone or the time is up; give the exit code: whether it was Ready at the end."""
    console = console or Console()

    def say(line: str) -> None:
        print_line(console, f"{get_now():%H:%M:%S} {line}")

    pool: RunnerPool | None = await session.require_pool(name)
    end = None if seconds is None else monotonic() + seconds
    last, seen = RunnerPoolStatus(), EventCounts(await list_events(session, name))  # events of before are no news
    while pool is not None:
        for line in (*describe_events(seen.take(await list_events(session, name)), pool.status),
                     *describe_changes(last, pool.status)):  # fmt: skip
            say(line)
        last = pool.status
        if end is not None and monotonic() >= end:
            ready = last.condition("Ready")
            serves = ready is not None and ready.status == "True"
            say("the time is up; the pool is Ready" if serves else "the time is up; the pool is not Ready")
            return EXIT_SERVING if serves else EXIT_NOT_READY
        await sleep(POLL_SECONDS)
        pool = await session.get_pool(name)
    say(f"RunnerPool {name} is gone")
    return EXIT_GONE


async def list_events(session: Session, name: str) -> list[Object]:
    """Read the events of a pool."""
    chosen = f"regarding.kind=RunnerPool,regarding.name={name}"
    return await session.kubernetes.list_objects(EVENTS, session.namespace, fields=chosen)


class EventCounts:
    """How often each event has been seen: one that repeats is the same object with a higher count."""

    def __init__(self, events: Iterable[Object]) -> None:
        self._counts = {event["metadata"]["name"]: _get_count(event) for event in events}

    def take(self, events: Iterable[Object]) -> list[Object]:
        """Give the events that are new or were repeated, the oldest first."""
        news = [event for event in events if self._counts.get(event["metadata"]["name"]) != _get_count(event)]
        self._counts |= {event["metadata"]["name"]: _get_count(event) for event in news}
        return sorted(news, key=_get_moment)


def describe_events(events: Iterable[Object], status: RunnerPoolStatus) -> list[str]:
    """Tell events in lines, but for those that repeat what a condition says."""
    conditions = {(condition.reason, condition.type) for condition in status.conditions}
    told = [(event["reason"], event.get("note") or "") for event in events]
    return [f"{reason}: {note}" for reason, note in told if (reason, note.partition(":")[0]) not in conditions]


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
    """Draw what the pods do, one character each (# runs a job, + starts, . waits, - ends), and say the numbers."""
    pods = "#" * status.running + "+" * status.starting + "." * status.idle + "-" * status.draining
    shown = pods if len(pods) <= BAR_WIDTH else pods[: BAR_WIDTH - 1] + ">"
    counts = f"{status.pending} pending; pods: {status.running} running, {status.starting} starting, {status.idle} idle"
    return f"|{shown:<{BAR_WIDTH}}| {counts}" + (f", {status.draining} draining" if status.draining else "")


def _count(status: RunnerPoolStatus) -> tuple[int, ...]:
    return status.pending, status.starting, status.idle, status.running, status.draining


def _get_count(event: Object) -> int:
    return int((event.get("series") or {}).get("count", 1))


def _get_moment(event: Object) -> str:
    return str((event.get("series") or {}).get("lastObservedTime") or event.get("eventTime") or "")
