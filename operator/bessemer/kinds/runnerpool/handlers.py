"""What kopf calls for pools: every event is remembered and wakes the pool that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kopf

from bessemer.api.base import GROUP, VERSION
from bessemer.api.runnerpool.resource import KIND, PLURAL
from bessemer.api.wellknown import POOL_LABEL, RUNNER_UID_LABEL
from bessemer.engine.hearing import Hearing
from bessemer.engine.loop import WakeUps
from bessemer.foreign import parse_int
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.facts import NO_SLOT
from bessemer.kinds.runnerpool.pods.job_pods import parse_job_pod
from bessemer.kinds.runnerpool.pods.runner_pods import parse_runner_pod
from bessemer.kube.podmodel import read_pod


def register(registry: kopf.OperatorRegistry, deps: PoolDeps, wakeups: WakeUps, hearing: Hearing) -> None:
    """Add the handlers of pools and their pods."""

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def on_pool(
        namespace: str | None,
        name: str | None,
        type: str | None,  # noqa: A002  kopf's
        body: Mapping[str, Any],
        **_: Any,
    ) -> None:
        hearing.note()
        key = (namespace or "", name or "")
        if type == "DELETED":
            deps.pools.pop(key, None)
            wakeups.wake(key)
            return
        known = deps.pools.get(key)
        if known is None or _version(known) < _version(body):
            deps.pools[key] = dict(body)
            wakeups.wake(key)

    @kopf.on.event("v1", "pods", labels={POOL_LABEL: kopf.PRESENT}, registry=registry)
    async def on_pod(namespace: str | None, type: str | None, body: Mapping[str, Any], **_: Any) -> None:  # noqa: A002  kopf's
        hearing.note()
        pod = parse_runner_pod(body)
        owner = read_pod(body).metadata.controller
        if owner.kind != KIND or pod.slot == NO_SLOT:
            return  # it only looks like a pod of Bessemer
        key = (namespace or "", owner.name)
        if type == "DELETED":
            if deps.pods.drop(key, pod):
                deps.vanished.setdefault(key, []).append(pod)
            wakeups.wake(key)
        elif deps.pods.put(key, pod):
            wakeups.wake(key)

    @kopf.on.event("v1", "pods", labels={RUNNER_UID_LABEL: kopf.PRESENT}, registry=registry)
    async def on_job_pod(namespace: str | None, type: str | None, body: Mapping[str, Any], **_: Any) -> None:  # noqa: A002  kopf's
        hearing.note()
        pool, pod = parse_job_pod(body)
        key = (namespace or "", pool)
        if type == "DELETED":
            deps.job_pods.drop(key[0], pod.name)
        elif not deps.job_pods.put(key, pod):
            return
        wakeups.wake(key)

    @kopf.on.event("v1", "resourcequotas", registry=registry)
    async def on_quota(namespace: str | None, name: str | None, type: str | None, **_: Any) -> None:  # noqa: A002  kopf's
        hearing.note()
        names = deps.quotas.setdefault(namespace or "", set())
        if type == "DELETED":
            names.discard(name or "")
            if not names and all(pool[0] != namespace for pool in deps.pools):
                del deps.quotas[namespace or ""]  # its namespace may be gone; where a pool comes, they are listed
        else:
            names.add(name or "")


def _version(raw: Mapping[str, Any]) -> int:
    return parse_int(raw["metadata"].get("resourceVersion") or 0)
