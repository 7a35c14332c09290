"""Explains from events why a pod does not start, if its status gives no reason.

Events are listed only for a pod that has not started for minutes, and once a minute.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

from bessemer.engine.loop import Key
from bessemer.errors import BessemerError
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.facts import Facts, RunnerPodFact, StallLook
from bessemer.kinds.runnerpool.verdicts import STALLED, find_hindered
from bessemer.kube.podwarnings import get_pod_warning

LOOK_SECONDS = 60
"""Time between two reads of one pod's events: the kubelet reports volume problems every two minutes."""
_log = logging.getLogger(__name__)


async def explain_stall(deps: PoolDeps, facts: Facts) -> Facts:
    """Return the facts, completed from the events of the pod that the status must report as not starting."""
    key, now = (facts.pool.namespace, facts.pool.name), deps.now()
    pod = find_hindered(facts, now) if facts.pool.deleted is None else None
    if pod is None or pod.reason:
        return facts
    look = deps.memories.get(key).stall
    if look is None or look.uid != pod.uid or now - look.when >= timedelta(seconds=LOOK_SECONDS):
        look = await _look(deps, key, pod, look)
    facts = replace(facts, stall=look)
    if look.warning is None:
        return facts
    said = replace(pod, reason=look.warning.reason or STALLED, message=look.warning.message)
    return replace(facts, pods={**facts.pods, pod.name: said})


def compute_look(deps: PoolDeps, key: Key) -> float | None:
    """Return the seconds until a pod's events are due to be read again; None if all pods start."""
    look = deps.memories.get(key).stall
    return None if look is None else max(0.0, LOOK_SECONDS - (deps.now() - look.when).total_seconds())


async def _look(deps: PoolDeps, key: Key, pod: RunnerPodFact, before: StallLook | None) -> StallLook:
    """Read a pod's events. If that fails, the known explanation stays: the pool's other pods don't depend on it."""
    try:
        warning = await get_pod_warning(deps.kubernetes, key[0], pod.uid)
    except BessemerError as error:
        _log.warning("%s/%s: events of pod %s: %s", *key, pod.name, error.message)
        warning = before.warning if before is not None and before.uid == pod.uid else None
    return StallLook(pod.uid, deps.now(), warning)
