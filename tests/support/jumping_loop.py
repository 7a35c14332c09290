"""Time that goes by at once: an event loop whose clock jumps to the next thing that is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class JumpingLoop(asyncio.SelectorEventLoop):
    """Never waits: if nothing is due yet, its clock jumps to the next timer.

    While threads are working, for example on requests to a server with a separate clock, time stands still.
    """

    def __init__(self) -> None:
        super().__init__()
        self._later = 0.0
        self._under_way = 0
        select = self._selector.select  # type: ignore[attr-defined]  # asyncio's own

        def jump(timeout: float | None = None) -> list[object]:
            if self._under_way:
                return list(select(timeout))
            self._later += timeout or 0.0
            return list(select(0))

        self._selector.select = jump  # type: ignore[attr-defined]  # asyncio's own

    def time(self) -> float:
        return self._later

    def run_in_executor(self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts) -> asyncio.Future[_T]:
        future = super().run_in_executor(executor, func, *args)
        self._under_way += 1
        future.add_done_callback(self._end_work)
        return future

    @contextmanager
    def stand_still(self) -> Iterator[None]:
        """Let time stand still, such as for a request that this loop itself makes to such a server."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    def _end_work(self, _: asyncio.Future[Any]) -> None:
        self._under_way -= 1
