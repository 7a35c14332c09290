"""Watches objects from outside of the operator. Nothing is polled meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from kubernetes.watch import Watch

WATCH_SECONDS = 3600
"""Maximum duration of a watch, in seconds; far longer than what it observes."""
MOST_WATCHES = 100
"""How often a watch that was ended is begun again."""
Note = Callable[[str, Mapping[str, Any], float], None]
"""Takes the type of an event, the raw object, and when that was seen (``time.time``)."""


@contextmanager
def watch_objects(look: Callable[..., Any], note: Note, note_end: Callable[[Future[None]], None]) -> Iterator[None]:
    """Watch as long as the context lasts.

    Args:
        look: the client's function that lists the objects.
        note: is called for each event, in a thread.
        note_end: is called when the watch ends, in a thread.

    """
    watch: Any = Watch()  # type: ignore[no-untyped-call]  # the library has no types
    closing = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        try:
            thread.submit(_follow, watch, look, note, closing).add_done_callback(note_end)
            yield
        finally:
            closing.set()
            watch.stop()


def _follow(watch: Any, look: Callable[..., Any], note: Note, closing: threading.Event) -> None:
    """Note all events; where the API server ends the watch, go on from where it was."""
    version: str | None = None
    for _ in range(MOST_WATCHES):
        # As JSON, since filling models would take time.
        for event in watch.stream(look, resource_version=version, timeout_seconds=WATCH_SECONDS, deserialize=False):
            note(event["type"], event["object"], time.time())
            version = event["object"]["metadata"]["resourceVersion"]
        if closing.is_set():
            return
