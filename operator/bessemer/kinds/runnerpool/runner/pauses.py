"""For how long GitLab wants to be left alone by what a pool asks about its runner. Polls keep their own count."""

from __future__ import annotations

from datetime import timedelta

from bessemer.engine.loop import Key
from bessemer.errors import BessemerError
from bessemer.kinds.runnerpool.demand.sources import compute_asked
from bessemer.kinds.runnerpool.deps import PoolDeps


def put_pause(deps: PoolDeps, key: Key, error: BessemerError | None) -> None:
    """Take down how long GitLab has asked for, by the error of the last request; None: it asks for nothing any more."""
    asked = compute_asked(error) if error is not None else 0.0
    if asked > 0:
        deps.pauses[key] = deps.now() + timedelta(seconds=asked)
    else:
        deps.pauses.pop(key, None)


def compute_pause(deps: PoolDeps, key: Key) -> float:
    """Give the seconds that are left of it; 0: ask."""
    until = deps.pauses.get(key)
    return max(0.0, (until - deps.now()).total_seconds()) if until is not None else 0.0
