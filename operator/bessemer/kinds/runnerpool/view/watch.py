"""Follow a runner pool: one line for each change of its pods and conditions, and each decision with its reason."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import monotonic

from rich.console import Console

from bessemer.api.runnerpool.names import KIND
from bessemer.api.runnerpool.resource import parse_runner_pool
from bessemer.api.runnerpool.status import RunnerPoolStatus
from bessemer.clock import get_now
from bessemer.console.form import Form
from bessemer.console.session import Session, outlast_outages
from bessemer.console.terminal import make_console, print_line
from bessemer.console.values import ChangeWriter
from bessemer.kinds.runnerpool.resource import RUNNER_POOLS
from bessemer.kinds.runnerpool.view.status import describe_counts
from bessemer.kube.protocol import EVENTS, Object

POLL_SECONDS = 0.5
EXIT_SERVING, EXIT_NOT_READY, EXIT_GONE = 0, 1, 2
_CONDITIONS = ("Ready", "RunnerRegistered", "DemandKnown", "ScalingLimited", "Draining")


async def watch_pool(
    session: Session,
    name: str,
    seconds: float | None,
    form: Form | None = None,
    console: Console | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """Follow a pool until it is gone or the time is up; return the exit code: whether it was Ready at the end."""
    console = console or make_console()
    view = _LineView(console) if form is None else _ValueView(ChangeWriter(form, console.file))
    raw: Object | None = await session.require(RUNNER_POOLS, KIND, name)
    end = None if seconds is None else monotonic() + seconds
    seen = EventCounts(await list_events(session, name))  # events of before are no news
    while raw is not None:
        status = parse_runner_pool(raw).status
        view.show(raw, status, seen.take(await list_events(session, name)))
        if end is not None and monotonic() >= end:
            ready = status.condition("Ready")
            serves = ready is not None and ready.status == "True"
            view.say("the time is up; the pool is Ready" if serves else "the time is up; the pool is not Ready")
            return EXIT_SERVING if serves else EXIT_NOT_READY
        await sleep(POLL_SECONDS)
        raw = await outlast_outages(lambda: session.kubernetes.get_object(RUNNER_POOLS, session.namespace, name))
    view.say(f"{KIND} {name} is gone")
    view.end()
    return EXIT_GONE


class _LineView:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = RunnerPoolStatus()

    def show(self, _raw: Object, status: RunnerPoolStatus, events: Sequence[Object]) -> None:
        for line in (*describe_events(events, status), *describe_changes(self._last, status)):
            self.say(line)
        self._last = status

    def say(self, text: str) -> None:
        print_line(self._console, f"{get_now():%H:%M:%S} {text}")

    def end(self) -> None:
        """Leave the lines."""


class _ValueView:
    def __init__(self, writer: ChangeWriter) -> None:
        self._writer = writer

    def show(self, raw: Object, _status: RunnerPoolStatus, events: Sequence[Object]) -> None:
        for event in events:
            self._writer.show_other(event)
        self._writer.show(raw)

    def say(self, text: str) -> None:
        """Leave it to the objects and the exit code."""

    def end(self) -> None:
        self._writer.end()


async def list_events(session: Session, name: str) -> list[Object]:
    """Read the events of a pool."""
    chosen = f"regarding.kind={KIND},regarding.name={name}"
    return await outlast_outages(lambda: session.kubernetes.list_objects(EVENTS, session.namespace, fields=chosen))


class EventCounts:
    """How often each event has been seen: one that repeats is the same object with a higher count."""

    def __init__(self, events: Iterable[Object]) -> None:
        self._counts = {event["metadata"]["name"]: _get_count(event) for event in events}

    def take(self, events: Iterable[Object]) -> list[Object]:
        """Return the events that are new or were repeated, the oldest first."""
        news = [event for event in events if self._counts.get(event["metadata"]["name"]) != _get_count(event)]
        self._counts |= {event["metadata"]["name"]: _get_count(event) for event in news}
        return sorted(news, key=_get_moment)


def describe_events(events: Iterable[Object], status: RunnerPoolStatus) -> list[str]:
    """Return events as lines, but for those that repeat what a condition says."""
    conditions = {(condition.reason, condition.type) for condition in status.conditions}
    told = [(event["reason"], event.get("note") or "") for event in events]
    return [f"{reason}: {note}" for reason, note in told if (reason, note.partition(":")[0]) not in conditions]


def describe_changes(before: RunnerPoolStatus, after: RunnerPoolStatus) -> list[str]:
    """Return in lines what has changed between two statuses."""
    lines = []
    for type_ in _CONDITIONS:
        old, new = before.condition(type_), after.condition(type_)
        if new is not None and (old is None or (old.status, old.reason) != (new.status, new.reason)):
            lines.append(f"{type_}={new.status} ({new.reason})" + (f": {new.message}" if new.message else ""))
    if _count(before) != _count(after) or before.observed_generation == 0:
        lines.append(describe_counts(after))
    return lines


def _count(status: RunnerPoolStatus) -> tuple[int, ...]:
    return status.pending, status.starting, status.idle, status.running, status.draining


def _get_count(event: Object) -> int:
    return int((event.get("series") or {}).get("count", 1))


def _get_moment(event: Object) -> str:
    return str((event.get("series") or {}).get("lastObservedTime") or event.get("eventTime") or "")
