"""Brings the objects of one kind forward: the only place that orders I/O, the same for all kinds.

One pass observes, decides and executes one step at a time until no step is left, writes the whole status, and only then
does what the status has to hold first. It may die between any two calls: the next one finds out from the objects what
was done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any, Generic

from bessemer.api.base import ApiModel, build_merge_patch
from bessemer.engine.boundary import NEVER, Outcome
from bessemer.engine.cache import ObjectCache
from bessemer.engine.deps import Deps
from bessemer.engine.event_facts import EventFact
from bessemer.engine.faults import Fault, build_release, decide_fault
from bessemer.engine.kind import Child, F, Kind, Model, P, R, Wake
from bessemer.engine.loop import Key, WakeUps
from bessemer.engine.status import StatusPace, is_urgent
from bessemer.errors import Retry
from bessemer.kube.protocol import Conflict, Object

MAX_STEPS = 12
"""Of one pass, far more than any takes: a decision that comes to no end goes in rings."""
GONE = "DELETED"
"""The type of an event of an object that is gone; all others say how it is."""
CACHE_SECONDS = 0.1
"""After a conflict, until the watch has brought what it was with."""
Make = Callable[[Wake, ObjectCache], Kind[R, F, P]]
"""Makes a kind, given what wakes its objects, and these as the watch saw them."""
_log = logging.getLogger(__name__)


class Controller(Generic[R, F, P]):
    """One kind, the loops of its objects, and these as the watch saw them."""

    def __init__(self, deps: Deps, make: Make[R, F, P]) -> None:
        self.objects = ObjectCache()
        self.loops = WakeUps(self.reconcile, deps.settings.resync_seconds, self._count, self.show_fault)
        self.kind = make(self.loops.wake, self.objects)
        self.loops.kind = self._name = self.model.name
        self._deps = deps
        self._paces: dict[Key, StatusPace] = {}

    @property
    def model(self) -> Model[R]:
        """How Kubernetes knows the objects."""
        return self.kind.model

    @property
    def children(self) -> tuple[Child, ...]:
        """What is watched beside them."""
        return self.kind.children

    def hear_object(self, type_: str | None, key: Key, raw: Object) -> None:
        """Note an event of an object, and have it looked at where it says anything new."""
        if type_ == GONE:
            self.objects.drop(key)
            self.loops.wake(key)
            if self.model.wakes_others:
                self.loops.wake_all()
        elif not self.model.cached or self.objects.put(key, raw):
            self.loops.wake(key)

    def hear_child(self, child: Child, type_: str | None, namespace: str, raw: Object) -> None:
        """Note an event of a child, and have those objects looked at that it says anything new to."""
        for key in child.hear(type_, namespace, raw):
            self.loops.wake(key)

    async def reconcile(self, key: Key, woken: float) -> float | None:
        """Make one pass; return the seconds after which time alone makes the next one due.

        ``woken`` is the monotonic time at which the cause of this pass was heard of. Raises Retry (as Conflict or
        Unavailable may): the pass must be repeated soon.
        """
        with self._deps.metrics.reconcile_seconds.labels(self._name).time():
            raw = await self._read(key)
            resource = self.model.parse(raw) if raw is not None else None
            if raw is None or resource is None:
                return await self._forget(key)
            if self.model.finalizer not in resource.finalizers:
                if resource.deleted is not None:
                    return await self._forget(key)
                raw = await self._add_finalizer(key, resource)
                resource = self.model.parse(raw)
            return await self._bring_forward(key, raw, resource, woken)

    async def show_fault(self, key: Key, fault: Fault) -> None:
        """Show on an object why its pass failed, where that is new; finalize it where it was deleted too long ago.

        Raises what Kubernetes does.
        """
        model = self.model
        raw = await self._read(key)
        if raw is None:
            return
        seconds = self._deps.settings.deletion_seconds
        notice = decide_fault(raw, fault, model.name, model.finalizer, seconds, self._deps.now())
        if notice is None:
            return
        await self._deps.recorder.record(
            notice.reference, EventFact("Warning", notice.event.reason, notice.event.message)
        )
        written = await self._deps.kubernetes.patch_object(
            model.resource, *key, notice.patch, subresource=notice.subresource
        )
        if notice.subresource and written is not None:
            self._note(key, written)

    async def close(self) -> None:
        """Stop all loops, then what the kind has in the background; a pass may be cut off anywhere, which is safe."""
        await self.loops.close()
        await self.kind.close()

    async def _forget(self, key: Key) -> float:
        await self.kind.forget(key)
        self._paces.pop(key, None)
        return NEVER

    async def _bring_forward(self, key: Key, raw: Object, resource: R, woken: float) -> float | None:
        facts, plan = await self._advance(resource, await self.kind.observe(resource, woken))
        written, wait = await self._write_status(key, raw, plan.status)
        if written is None:
            return 0
        due = await self.kind.finish(facts, plan)
        for event in plan.events:
            await self._deps.recorder.record(resource.reference(), event)
        if plan.finalize:
            await self._remove_finalizer(key, written)
            return 0
        return min((seconds for seconds in (plan.wake_after, wait, due) if seconds is not None), default=None)

    async def _advance(self, resource: R, facts: F) -> tuple[F, P]:
        """Decide and execute until no step is left; the facts are kept up to date with what was done."""
        for _ in range(MAX_STEPS):
            plan = self.kind.decide(facts, self._deps.now())
            if plan.step is None:
                return facts, plan
            for why in plan.reasons:
                what = (self._name, resource.namespace, resource.name, why.reason, why.message)
                _log.info("%s %s/%s: %s: %s", *what)
            facts = await self.kind.execute(facts, plan)
        raise Retry("TooManySteps", "the decision does not come to an end", after=5)

    async def _read(self, key: Key) -> Object | None:
        if self.model.cached:
            return self.objects.get(key)
        return await self._deps.kubernetes.get_object(self.model.resource, *key)

    def _note(self, key: Key, raw: Object) -> None:
        """Have the next pass see what we wrote, be it faster than the watch."""
        if self.model.cached and self.objects.get(key) is not None:
            self.objects.put(key, raw)

    async def _add_finalizer(self, key: Key, resource: R) -> Object:
        """See to it that the object can't vanish before what is done for it is taken back."""
        finalizers = [*resource.finalizers, self.model.finalizer]
        metadata = {"finalizers": finalizers, "resourceVersion": resource.resource_version}
        raw = await self._patch(key, {"metadata": metadata})
        if raw is None:
            raise Retry("Vanished", f"the {self._name} has just been deleted", after=0)
        self._note(key, raw)
        return raw

    async def _remove_finalizer(self, key: Key, raw: Object) -> None:
        patch = build_release(raw, self.model.finalizer)
        patch["metadata"]["resourceVersion"] = raw["metadata"]["resourceVersion"]
        await self._patch(key, patch)
        self.objects.drop(key)

    async def _write_status(self, key: Key, raw: Object, status: ApiModel) -> tuple[Object | None, float | None]:
        """Write the status if it differs; return the object as it is then, None where it has vanished, and the seconds
        until it may be written, where it is too early.
        """
        pace = self._paces.setdefault(key, StatusPace())
        before, after = raw.get("status") or {}, status.to_api()
        if before == after:
            pace.put_equal()
            return raw, None
        wait = pace.compute_wait(monotonic())
        if wait > 0 and not is_urgent(before, after, self.model.paced):
            return raw, wait
        metadata = {"resourceVersion": raw["metadata"]["resourceVersion"]}
        patch = {"metadata": metadata, "status": build_merge_patch(before, after)}
        written = await self._patch(key, patch, status=True)
        pace.put_written(monotonic())
        if written is not None:
            self._note(key, written)
        return written, None

    async def _patch(self, key: Key, patch: dict[str, Any], *, status: bool = False) -> Object | None:
        """Patch the object as it was observed; raises Retry where it has changed since."""
        kubernetes, resource = self._deps.kubernetes, self.model.resource
        try:
            if status:
                return await kubernetes.patch_object(resource, *key, patch, subresource="status")
            return await kubernetes.patch_object(resource, *key, patch)
        except Conflict as error:
            after = CACHE_SECONDS if self.model.cached else 0
            raise Retry("Conflict", error.message, after=after) from error

    def _count(self, outcome: Outcome) -> None:
        if outcome.failed:
            self._deps.metrics.reconcile_errors.labels(self._name, outcome.reason).inc()
