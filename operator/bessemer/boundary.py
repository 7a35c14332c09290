"""The only place that catches every exception: between a piece of work and the loop that must outlive it."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from bessemer.errors import BessemerError, Retry

NEVER = math.inf
"""Until when another pass over an object that is not there is due, unless something is heard of it."""
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a guarded pass ended."""

    wake_after: float | None = None
    """Seconds until the next one is due; None: only when something is heard, or after some time; NEVER: only when
    something is heard."""
    failed: bool = False
    """Whether it is to be repeated, after a back-off unless ``wake_after`` says when."""
    reason: str = ""
    """Why it failed."""


async def guard(what: str, work: Awaitable[float | None]) -> Outcome:
    """Run one pass; turn whatever it raises into what is to be done about it."""
    try:
        return Outcome(wake_after=await work)
    except Retry as error:
        _log.info("%s: %s, is repeated", what, error)
        return Outcome(wake_after=error.after, failed=True, reason=error.reason)
    except BessemerError as error:
        _log.warning("%s: %s", what, error)
        return Outcome(failed=True, reason=error.reason)
    except Exception as error:  # noqa: BLE001  the boundary: one object's trouble must not stop the others
        _log.exception("%s: unexpected error", what)
        return Outcome(failed=True, reason=type(error).__name__)


async def contain(what: str, work: Awaitable[_T]) -> _T:
    """Run a piece of work, which raises errors of ours only; what nobody has thought of is one to be tried again."""
    try:
        return await work
    except BessemerError:
        raise
    except Exception as error:
        _log.exception("%s: unexpected error", what)
        text = f"{type(error).__name__}: a fault in Bessemer, the operator's log says where"
        raise Retry("Unexpected", text) from error
