"""Watches the Secrets that objects name, so that a change is noticed before the periodic check reads them all.

One watch per Secret, by name, shared by the pools that name it. Where watching is not allowed or there are too many
Secrets, only the periodic check remains (docs/adr/0004-secrets-are-watched-by-name.md). If there are too many,
namespaces have equal shares: a namespace with hundreds of Secrets does not make another one wait.
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
"""Of one kind. Each watch is a connection to the API server."""
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 30.0
"""If a watch lasted at least this long, the next one begins without a back-off."""
REFUSED_PAUSE_SECONDS = 600.0
"""Pause after a refused watch, because an administrator may grant the right later."""
_log = logging.getLogger(__name__)


class SecretWatches:
    """The watches, and how many changes of its Secrets each pool has heard of."""

    def __init__(self, watcher: Watcher, wake: Callable[[Key], None]) -> None:
        self._watcher = watcher
        self._wake = wake
        self._users: dict[Key, set[Key]] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._changes: Counter[Key] = Counter()
        self._heard: set[Key] = set()

    def use(self, pool: Key, names: Iterable[str]) -> None:
        """Set the Secrets of the pool's namespace that are watched for the pool."""
        wanted = {(pool[0], name) for name in names}
        for secret in [secret for secret, users in self._users.items() if pool in users and secret not in wanted]:
            self._drop(secret, pool)
        for secret in sorted(wanted):
            self._users.setdefault(secret, set()).add(pool)
            if secret not in self._tasks and self._make_room(pool[0]):
                self._tasks[secret] = asyncio.create_task(self._follow(secret), name=f"watch secret {secret}")

    def leave(self, pool: Key) -> None:
        """End watching for a pool."""
        self.use(pool, ())
        self._changes.pop(pool, None)

    def count_changes(self, pool: Key) -> int:
        """Return how many changes of the pool's Secrets have been heard of."""
        return self._changes[pool]

    def are_heard(self, pool: Key) -> bool:
        """Return whether every Secret of the pool is being watched at this moment, so that no change is missed."""
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
        """Return whether a namespace may have one more watch.

        If there are too many, a namespace that has more than its share ends one of its watches.
        """
        if len(self._tasks) < MOST_WATCHES:
            return True
        shares = Counter(secret[0] for secret in self._tasks)
        richest, most = shares.most_common(1)[0]
        if shares[namespace] + 1 >= most:
            return False
        self._end(next(secret for secret in reversed(self._tasks) if secret[0] == richest))
        return True

    async def _follow(self, secret: Key) -> None:
        """Watch one Secret until cancelled; the pause grows each time a watch fails early."""
        loop = asyncio.get_running_loop()
        seen, pause = "", FIRST_PAUSE_SECONDS
        while True:
            began = loop.time()
            try:
                async with aclosing(self._watcher.watch_object(SECRETS, *secret)) as versions:
                    async for version in versions:
                        self._heard.add(secret)
                        # Also for the first watch: the Secret may have changed between the read and the start of the
                        # watch.
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
            self._changes[pool] += 1
            self._wake(pool)
