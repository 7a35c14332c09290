"""Hear of it when a Secret that a pool names has changed: the edge to the check that reads all of them now and then.

One watch for each Secret, by its name, shared by the pools that name it. Where watching is not allowed, or there are
too many, the check alone remains (docs/adr/0004-secrets-are-watched-by-name.md). When there are too many, namespaces
have equal shares: who names hundreds of Secrets in one does not make another wait.
"""

from __future__ import annotations

import asyncio
import logging
import random
from asyncio import sleep
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import aclosing

from bessemer.engine.loop import Key
from bessemer.errors import BessemerError
from bessemer.kube.protocol import SECRETS, Refused
from bessemer.kube.watch import Watcher

MOST_WATCHES = 256
"""Each is a connection to the API server."""
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 30.0
"""After a watch that has held that long, the next one begins without much ado."""
REFUSED_PAUSE_SECONDS = 600.0
"""Who may not watch asks again that often: an administrator may change it."""
_log = logging.getLogger(__name__)


class SecretWatches:
    """The watches, and the pools that have not looked since a Secret of theirs has changed."""

    def __init__(self, watcher: Watcher, wake: Callable[[Key], None]) -> None:
        self._watcher = watcher
        self._wake = wake
        self._users: dict[Key, set[Key]] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._changed: set[Key] = set()
        self._heard: set[Key] = set()

    def use(self, pool: Key, names: Iterable[str]) -> None:
        """Watch exactly these Secrets in the namespace of the pool for it."""
        wanted = {(pool[0], name) for name in names}
        for secret in [secret for secret, users in self._users.items() if pool in users and secret not in wanted]:
            self._drop(secret, pool)
        for secret in sorted(wanted):
            self._users.setdefault(secret, set()).add(pool)
            if secret not in self._tasks and self._make_room(pool[0]):
                self._tasks[secret] = asyncio.create_task(self._follow(secret), name=f"watch secret {secret}")

    def leave(self, pool: Key) -> None:
        """Watch nothing for a pool any more."""
        self.use(pool, ())
        self._changed.discard(pool)

    def take_change(self, pool: Key) -> bool:
        """Return whether a Secret of the pool's has changed since this was last asked."""
        changed = pool in self._changed
        self._changed.discard(pool)
        return changed

    def are_heard(self, pool: Key) -> bool:
        """Return whether each Secret of the pool's is watched at this moment, so that none changes unheard."""
        return all(secret in self._heard for secret, users in self._users.items() if pool in users)

    async def close(self) -> None:
        """End all watches."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._users.clear()

    def _drop(self, secret: Key, pool: Key) -> None:
        self._users[secret].discard(pool)
        if not self._users[secret]:
            del self._users[secret]
            self._end(secret)

    def _end(self, secret: Key) -> None:
        task = self._tasks.pop(secret, None)
        if task is not None:
            task.cancel()
            self._heard.discard(secret)

    def _make_room(self, namespace: str) -> bool:
        """Return whether a namespace may have one more watch; where there are too many, one with more gives one up."""
        if len(self._tasks) < MOST_WATCHES:
            return True
        shares = Counter(secret[0] for secret in self._tasks)
        richest, most = shares.most_common(1)[0]
        if shares[namespace] + 1 >= most:
            return False
        self._end(next(secret for secret in reversed(self._tasks) if secret[0] == richest))
        return True

    async def _follow(self, secret: Key) -> None:
        """Watch one Secret until cancelled; wait longer each time that a watch does not hold."""
        loop = asyncio.get_running_loop()
        seen, pause = "", FIRST_PAUSE_SECONDS
        while True:
            began = loop.time()
            try:
                async with aclosing(self._watcher.watch_object(SECRETS, *secret)) as versions:
                    async for version in versions:
                        self._heard.add(secret)
                        # The first one as well: it may have changed since it was read, before this watch began.
                        if version != seen:
                            seen = version
                            self._tell(secret)
            except Refused as error:
                _log.info("Secret %s/%s is not watched, only read now and then: %s", *secret, error.message)
                pause = REFUSED_PAUSE_SECONDS
            except BessemerError as error:
                _log.info("watch of Secret %s/%s: %s", *secret, error)
            finally:
                self._heard.discard(secret)
            if loop.time() - began >= STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            await sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311  not a secret
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _tell(self, secret: Key) -> None:
        for pool in self._users.get(secret, ()):
            self._changed.add(pool)
            self._wake(pool)
