"""Reconciles the objects of one kind. The only module that orders I/O; it is the same for all kinds.

A pass observes, then decides and executes one step at a time until no step is left. Then it writes the whole status,
and last it does the work that requires the written status. The process may die between any two calls: the next pass
reads from the objects what was done.
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

MAX_STEPS = 1000
"""Maximum number of steps in one pass, far more than any pass needs: a decision that never ends is a bug. Most passes
have less than ten; a deleted pool has one for each runner or runner manager that it has left in GitLab."""
GONE = "DELETED"
"""Type of the event of a deleted object; every other type carries the current version."""
CACHE_SECONDS = 0.1
"""Pause after a conflict, until the watch has delivered the newer version."""
Make = Callable[[Wake, ObjectCache], Kind[R, F, P]]
"""Creates a kind from the function that wakes its objects and the cache of these objects."""
_log = logging.getLogger(__name__)


class Controller(Generic[R, F, P]):
    """One kind with its objects' loops and cache."""

    def __init__(self, deps: Deps, make: Make[R, F, P]) -> None:
        self.objects = ObjectCache()
        self.loops = WakeUps(self.reconcile, deps.settings.resync_seconds, self._count, self.show_fault)
        self.kind = make(self.loops.wake, self.objects)
        self.loops.kind = self._name = self.model.name
        self._deps = deps
        self._paces: dict[Key, StatusPace] = {}

    @property
    def model(self) -> Model[R]:
        """The kind's API model."""
        return self.kind.model

    @property
    def children(self) -> tuple[Child, ...]:
        """The children that are watched in addition to the objects."""
        return self.kind.children

    def hear_object(self, type_: str | None, key: Key, raw: Object) -> None:
        """Process an event of an object; wake the object if the event is news."""
        if type_ == GONE:
            self.objects.drop(key)
            self.loops.wake(key)
            if self.model.wakes_others:
                self.loops.wake_all()
        elif not self.model.cached or self.objects.put(key, raw):
            self.loops.wake(key)

    def hear_child(self, child: Child, type_: str | None, namespace: str, raw: Object) -> None:
        """Process an event of a child; wake the objects for which the event is news."""
        for key in child.hear(type_, namespace, raw):
            self.loops.wake(key)

    async def reconcile(self, key: Key, woken: float) -> float | None:
        """Run one pass; return the seconds after which the next one is due even without an event.

        ``woken`` is the monotonic time of the event that caused this pass. Raises Retry (Conflict and Unavailable
        included): the pass must be repeated soon.
        """
        with self._deps.metrics.reconcile_seconds.labels(self._name).time():
            raw = await self._read(key)
            resource = self._parse(key, raw)
            if raw is None or resource is None:
                return await self._forget(key)
            if self.model.finalizer not in resource.finalizers:
                if resource.deleted is not None:
                    return await self._forget(key)
                raw = await self._add_finalizer(key, resource)
                resource = self.model.parse(raw)
            return await self._bring_forward(key, raw, resource, woken)

    async def show_fault(self, key: Key, fault: Fault) -> None:
        """Show on an object why its pass failed, if that is new; finalize it if its deletion deadline has passed.

        Raises the errors of the Kubernetes client.
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
        """Stop all loops, then the kind's background tasks. A pass may be interrupted at any point, which is safe."""
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
        """Decide and execute until no step is left; return the facts after the last step, and the last plan."""
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

    def _parse(self, key: Key, raw: Object | None) -> R | None:
        if self.model.cached:
            return self.objects.parse(key, self.model.parse)
        return self.model.parse(raw) if raw is not None else None

    def _note(self, key: Key, raw: Object) -> None:
        """Store the result of a write in the cache, because the watch may deliver it later than the next pass."""
        if self.model.cached and self.objects.get(key) is not None:
            self.objects.put(key, raw)

    async def _add_finalizer(self, key: Key, resource: R) -> Object:
        """Add the finalizer, so that the object can't disappear before the clean-up."""
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
        """Write the status if it differs.

        Returns the object after the write (None if it has been deleted), and the seconds to wait if writing is not
        allowed yet.
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
        """Patch the version that was observed; raises Retry if the object has changed since."""
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
