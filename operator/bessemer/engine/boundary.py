"""The only place that catches every exception: between a piece of work and the loop that must outlive it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from bessemer.engine.faults import Fault, explain_fault
from bessemer.errors import BessemerError, Retry

NEVER = math.inf
"""Until when another pass over an object that is not there is due, unless something is heard of it."""
SHOW_SECONDS = 40.0
"""For showing a fault: three requests, each of which has its own deadline; then the next pass is due."""
Show = Callable[[Fault], Awaitable[None]]
"""Puts a fault on the object that a pass was about."""
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a guarded pass ended."""

    wake_after: float | None = None
    """Seconds until the next one is due; None: only when something is heard, or after some time; NEVER: only when
    something is heard."""
    failed: bool = False
    """Whether the pass must be repeated: after ``wake_after`` seconds if given, otherwise after a back-off."""
    reason: str = ""
    """Why it failed."""


async def guard(what: str, work: Awaitable[float | None], show: Show) -> Outcome:
    """Run one pass and turn every error into a decision about the next pass.

    What only a change or a mended program can cure is shown on the object, as the log of a process that works is not
    read.
    """
    try:
        return Outcome(wake_after=await work)
    except Retry as error:
        _log.info("%s: %s, is repeated", what, error)
        return Outcome(wake_after=error.after, failed=True, reason=error.reason)
    except BessemerError as error:
        _log.warning("%s: %s", what, error)
        fault = Fault(error.reason, error.message)
    except Exception as error:  # noqa: BLE001  the boundary: one object's trouble must not stop the others
        _log.exception("%s: unexpected error", what)
        fault = explain_fault(error)
    await _show(what, show, fault)
    return Outcome(failed=True, reason=fault.reason)


async def contain(what: str, work: Awaitable[_T]) -> _T:
    """Run a piece of work so that it raises only our errors; an unexpected error becomes one that is retried."""
    try:
        return await work
    except BessemerError:
        raise
    except Exception as error:
        _log.exception("%s: unexpected error", what)
        fault = explain_fault(error)
        raise Retry(fault.reason, fault.message) from error


async def _show(what: str, show: Show, fault: Fault) -> None:
    try:
        async with asyncio.timeout(SHOW_SECONDS):
            await show(fault)
    except (BessemerError, TimeoutError) as error:
        _log.warning("%s: %s could not be shown: %s", what, fault.reason, error)
    except Exception:  # noqa: BLE001  the boundary, too: it may be what stands in the object
        _log.exception("%s: %s could not be shown", what, fault.reason)
