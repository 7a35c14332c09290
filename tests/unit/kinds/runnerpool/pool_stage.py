"""The stage of golden stories of a pool: the whole operator over a Kubernetes and a GitLab in memory."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Literal

from bessemer.errors import BessemerError
from bessemer.gitlab.protocol import GitLabUnavailable, RateLimited
from bessemer.kube.protocol import RESOURCE_QUOTAS
from tests.support.pool_world import KEY, PoolWorld, manifest
from tests.unit.stories.teller import event

PASSES = 6
"""More than any of the stories needs to settle."""
ERRORS = {"away": GitLabUnavailable("no answer: Connection refused"), "busy": RateLimited("too many requests", 600)}

QUOTA = ("resourcequotas", KEY[0], "small")


class Narrator(logging.Handler):
    """Hears what a part of the operator logs of its decisions."""

    def __init__(self, prefix: str) -> None:
        super().__init__(logging.DEBUG)
        self.prefix = f"{prefix}{'/'.join(KEY)}: "
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage().removeprefix(self.prefix)
        if not line.startswith("rest, "):
            self.told.append(line)


class PoolStage:
    """A pool, of which a chapter tells what was decided, and then what its status says where that is new."""

    def __init__(self, world: PoolWorld, narrator: Narrator) -> None:
        self.world, self.narrator = world, narrator
        self.said: list[str] = []
        self.others = 0

    @event("apply")
    async def apply(self, spec: dict[str, Any]) -> None:
        """Apply a pool's spec, or merge it with the one before; spec.gitlab is laid over a default."""
        gitlab = manifest()["spec"]["gitlab"] | spec.get("gitlab", {})
        await self.world.apply(**{**spec, "gitlab": gitlab})

    @event("seconds")
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @event("gitlab")
    def set_gitlab(self, what: Literal["away", "busy", "back", "refuses tokens", "takes tokens"]) -> None:
        self.world.gitlab.error = ERRORS.get(what)
        if what.endswith("tokens"):
            self.world.gitlab.refuses_tokens = what == "refuses tokens"

    @event("tokens live")
    def set_token_life(self, seconds: float | None) -> None:
        life = None if seconds is None else self.world.clock[0] + timedelta(seconds=seconds)
        self.world.gitlab.expires_at = life

    @event("runner")
    def delete_runner(self, _what: Literal["deleted in GitLab"]) -> None:
        self.world.gitlab.runners.clear()

    @event("edit secret")
    async def edit_secret(self, name: str, **keys: str) -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
        self.world.kubernetes.edit("secrets", KEY[0], name, {"data": data})
        version = self.world.kubernetes.objects["secrets", KEY[0], name]["metadata"]["resourceVersion"]
        self.world.watcher.tell(KEY[0], name, version)
        await asyncio.sleep(0)

    @event("delete secret")
    async def delete_secret(self, name: str) -> None:
        await self.world.delete_secret(name)

    @event("delete")
    def delete(self, _what: Literal["pool"]) -> None:
        self.world.kubernetes.mark_deleted(self.world.kubernetes.objects["runnerpools", *KEY])

    @event("operator")
    async def restart_operator(self, _what: Literal["dies"]) -> None:
        await self.world.restart_operator()

    @event("jobs")
    async def queue(self, jobs: list[int]) -> None:
        """These jobs begin to wait in GitLab, which says so by a webhook."""
        self.world.queue(*jobs)

    @event("cancel")
    async def cancel(self, jobs: list[int]) -> None:
        """The user cancels these jobs, and the next poll finds them gone."""
        self.world.gitlab.jobs = [job for job in self.world.gitlab.jobs if job.id not in jobs]
        self.world.queue()

    @event("quota")
    async def set_quota(self, pods: int, *, others: int) -> None:
        """The namespace has a ResourceQuota of so many pods; so many are not the pool's."""
        self.others = others
        status = {"hard": {"pods": str(pods)}, "used": {"pods": "0"}}
        if QUOTA in self.world.kubernetes.objects:
            self.world.kubernetes.edit(*QUOTA, {"status": status})
        else:
            body = {"metadata": {"name": QUOTA[2]}, "status": status}
            await self.world.kubernetes.create_object(RESOURCE_QUOTAS, KEY[0], body)

    @event("pods")
    def start_pods(self, _what: Literal["start"]) -> None:
        """The kubelet starts all pods."""
        self.world.start_pods()

    @event("pod")
    def end_pod(self, pod: str, *, jobs: list[int] | None = None, fails: str = "") -> None:
        """A pod ends, having had these jobs; or it fails for a reason."""
        if fails:
            self.world.end_pod(pod, exit_code=1, reason=fails, outcome="")
        else:
            self.world.end_pod(pod, *(jobs or ()))

    async def tell(self) -> list[str]:
        """Make passes; return what was decided, what was decided again once, and what the status says then."""
        self.narrator.told.clear()
        for _ in range(PASSES):
            self._count_used()
            with suppress(BessemerError):
                await self.world.step()
        lines = list(dict.fromkeys(self.narrator.told))
        if ("runnerpools", *KEY) not in self.world.kubernetes.objects:
            return [*lines, "gone"]
        before, self.said = self.said, self.describe()
        return [*lines, *(line for line in self.said if line not in before)]

    def _count_used(self) -> None:
        """Be the API server, which counts what a quota is used for."""
        if QUOTA in self.world.kubernetes.objects:
            used = {"pods": str(self.others + len(self.world.pods()))}
            self.world.kubernetes.edit(*QUOTA, {"status": {"used": used}})

    def describe(self) -> list[str]:
        """Describe the status in lines."""
        raise NotImplementedError

    def describe_condition(self, type_: str) -> str:
        found = next(one for one in self.world.status()["conditions"] if one["type"] == type_)
        return f"{type_} {found['status']}, {found['reason']}: {found.get('message', '')}".removesuffix(": ")


@contextmanager
def listen(module: str, prefix: str = "") -> Iterator[Narrator]:
    """Hear what a module and those below it log of the pool."""
    narrator, logger = Narrator(prefix), logging.getLogger(module)
    level = logger.level
    logger.addHandler(narrator)
    logger.setLevel(logging.DEBUG)
    try:
        yield narrator
    finally:
        logger.removeHandler(narrator)
        logger.setLevel(level)
