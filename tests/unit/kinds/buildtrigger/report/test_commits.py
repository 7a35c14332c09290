"""Statuses of one commit are set one at a time."""

from __future__ import annotations

import asyncio

from bessemer.kinds.buildtrigger.commits import CommitLocks


async def test_two_triggers_set_statuses_of_one_commit_one_after_the_other() -> None:
    locks, order = CommitLocks(), list[str]()
    free = asyncio.Event()

    async def work(name: str, commit: str) -> None:
        async with locks.hold("https://gitlab.example/", "hpc/site", commit):
            order.append(f"{name} begins")
            if name == "one":
                await free.wait()
            order.append(f"{name} ends")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(work("one", "1"))
        await asyncio.sleep(0)
        tasks.create_task(work("two", "1"))
        await tasks.create_task(work("other", "2"))
        free.set()
    assert order == ["one begins", "other begins", "other ends", "one ends", "two begins", "two ends"]
