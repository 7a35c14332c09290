"""Wait for a condition of the real world: polled with back-off, never for ever."""

import time
from collections.abc import Callable

from local_kubernetes.errors import ClusterError

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 0.5


def wait_until(what: str, condition: Callable[[], bool], seconds: float, explain: Callable[[], str] = str) -> None:
    """Return as soon as `condition()` is true; raise ClusterError naming `what` after `seconds`.

    `explain` is called only on failure: it gives the facts that say why (the tail of a log, a state).
    `condition` may itself raise, to give up early.
    """
    deadline = time.monotonic() + seconds
    pause = FIRST_PAUSE
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not so after {seconds:.0f} s\n{explain()}".rstrip())
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
