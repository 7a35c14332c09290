"""Follow a trigger: one line for each change of its events and conditions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from rich.console import Console

from bessemer.api.buildtrigger.names import KIND
from bessemer.api.buildtrigger.resource import parse_build_trigger
from bessemer.api.buildtrigger.status import BuildTriggerStatus
from bessemer.clock import get_now
from bessemer.console.form import Form
from bessemer.console.session import Session, outlast_outages
from bessemer.console.terminal import make_console, print_line
from bessemer.console.values import ChangeWriter
from bessemer.kinds.buildtrigger.resource import BUILD_TRIGGERS
from bessemer.kinds.buildtrigger.view.status import build_row
from bessemer.kube.protocol import Object

POLL_SECONDS = 0.5
EXIT_READY, EXIT_NOT_READY, EXIT_GONE = 0, 1, 2


async def watch_trigger(
    session: Session,
    name: str,
    seconds: float | None,
    form: Form | None = None,
    console: Console | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """Follow a trigger until it is gone or the time is up; return the exit code: whether it was Ready at the end."""
    console = console or make_console()
    writer = ChangeWriter(form, console.file) if form is not None else None
    raw: Object | None = await session.require(BUILD_TRIGGERS, KIND, name)
    end, last = None if seconds is None else monotonic() + seconds, BuildTriggerStatus()
    while raw is not None:
        status = parse_build_trigger(raw).status
        if writer is not None:
            writer.show(raw)
        else:
            for line in list_changes(last, status):
                print_line(console, f"{get_now():%H:%M:%S} {line}")
        last = status
        if end is not None and monotonic() >= end:
            ready = status.condition("Ready")
            return EXIT_READY if ready is not None and ready.status == "True" else EXIT_NOT_READY
        await sleep(POLL_SECONDS)
        raw = await outlast_outages(lambda: session.kubernetes.get_object(BUILD_TRIGGERS, session.namespace, name))
    if writer is not None:
        writer.end()
    else:
        print_line(console, f"{get_now():%H:%M:%S} {KIND} {name} is gone")
    return EXIT_GONE


def list_changes(before: BuildTriggerStatus, after: BuildTriggerStatus) -> list[str]:
    """List what is new in a status: events by the time that they arrived, then conditions."""
    known = {event.name: (event.state, event.position) for event in before.events}
    lines = [
        "  ".join(build_row(event))
        for event in reversed(after.events)
        if known.get(event.name) != (event.state, event.position)
    ]
    for condition in after.conditions:
        last = before.condition(condition.type)
        if last is None or (last.status, last.reason) != (condition.status, condition.reason):
            lines.append(f"{condition.type}={condition.status} {condition.reason}: {condition.message}".rstrip(": "))
    return lines
