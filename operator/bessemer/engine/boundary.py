"""The only module that catches every exception: it separates one pass from the loop that must survive it."""

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
"""Wake time when the object does not exist: no pass is due until an event arrives."""
SHOW_SECONDS = 40.0
"""Deadline for showing a fault: three requests, each with its own deadline. After it, the next pass is due."""
Show = Callable[[Fault], Awaitable[None]]
"""Shows a fault on the object of the pass."""
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a guarded pass ended."""

    wake_after: float | None = None
    """Seconds until the next pass is due. None: at the next event or the next resync. NEVER: only at an event."""
    failed: bool = False
    """Whether the pass must be repeated: after ``wake_after`` seconds if set, otherwise after a back-off."""
    reason: str = ""
    """Reason of the failure."""


async def guard(what: str, work: Awaitable[float | None], show: Show) -> Outcome:
    """Run one pass; return an Outcome for every error.

    Errors that only a change of the spec or of the program can fix are shown on the object, because few users read the
    operator's log.
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
    """Run a piece of work; convert any unexpected error into one that is retried."""
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
