"""A kind that the product does not have, by the real engine: watched, brought forward, shown, finalized, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import Field

from bessemer.api.base import ApiModel, Condition, Resource, parse_resource
from bessemer.engine import watch
from bessemer.engine.cache import ObjectCache
from bessemer.engine.conditions import Verdict, compute_conditions
from bessemer.engine.controller import GONE, Controller
from bessemer.engine.deps import Deps
from bessemer.engine.event_facts import EventFact
from bessemer.engine.events import EventRecorder
from bessemer.engine.faults import Fault
from bessemer.engine.hearing import Hearing
from bessemer.engine.kind import Child, Kind, Model, Wake
from bessemer.engine.loop import Key
from bessemer.engine.memory import Memories
from bessemer.engine.metrics import Metrics
from bessemer.engine.objects import create_or_adopt, is_owned
from bessemer.engine.plan import Reason
from bessemer.engine.refusals import Refusal, explain_refusal
from bessemer.engine.settings import Settings
from bessemer.errors import Retry
from bessemer.kube.protocol import CONFIG_MAPS, Object, Refused
from bessemer.kube.protocol import Kind as ResourceKind
from tests.fakes.kubernetes import FakeKubernetes

BELLS = ResourceKind("bessemer.dev", "v1alpha1", "bells")
KEY = ("lab", "door")
FINALIZER = "bessemer.dev/bell"


class BellSpec(ApiModel):
    tone: str


class BellStatus(ApiModel):
    rung: int = 0
    conditions: list[Condition] = Field(default_factory=list)


@dataclass(frozen=True)
class Bell(Resource[BellSpec, BellStatus]):
    KIND = "Bell"


@dataclass(frozen=True)
class Facts:
    bell: Bell
    note: Object | None
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Hang:
    """Create the ConfigMap with the tone."""


@dataclass(frozen=True)
class TakeDown:
    """Delete it."""


@dataclass(frozen=True)
class Plan:
    status: BellStatus
    step: Hang | TakeDown | None = None
    reasons: tuple[Reason, ...] = ()
    events: tuple[EventFact, ...] = ()
    wake_after: float | None = None
    finalize: bool = False


@dataclass
class Memory:
    finished: int = 0


def decide(facts: Facts, now: datetime) -> Plan:
    bell = facts.bell
    ready = Verdict("Ready", "True", "Rings") if facts.note else Verdict("Ready", "False", "Silent")
    if facts.refusal is not None:
        ready = Verdict("Ready", "False", facts.refusal.reason, facts.refusal.message)
    conditions = compute_conditions([ready], bell.status.conditions, bell.generation, now)
    status = BellStatus(rung=bell.status.rung, conditions=conditions)
    if bell.deleted is not None:
        return Plan(status, TakeDown()) if facts.note else Plan(status, finalize=True)
    if facts.note is None and facts.refusal is None:
        return Plan(status, Hang(), (Reason("Hang", "the bell is new"),))
    return Plan(status, events=(EventFact("Normal", ready.reason, "as wanted"),), wake_after=60)


@dataclass
class BellKind(Kind[Bell, Facts, Plan]):
    deps: Deps
    wake: Wake
    objects: ObjectCache
    model = Model("Bell", BELLS, FINALIZER, partial(parse_resource, Bell, BellSpec, BellStatus), wakes_others=True)
    memories: Memories[Memory] = field(default_factory=lambda: Memories(Memory))
    forgotten: list[Key] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.children = (Child(CONFIG_MAPS, self.hear, "bell"),)

    def hear(self, _type: str | None, namespace: str, raw: Object) -> Iterable[Key]:
        return [(namespace, raw["metadata"]["labels"]["bell"])]

    async def observe(self, resource: Bell, woken: float) -> Facts:  # noqa: ARG002  the engine's signature
        return Facts(resource, await self.deps.kubernetes.get_object(CONFIG_MAPS, resource.namespace, resource.name))

    def decide(self, facts: Facts, now: datetime) -> Plan:
        return decide(facts, now)

    async def execute(self, facts: Facts, plan: Plan) -> Facts:
        bell = facts.bell
        if isinstance(plan.step, TakeDown):
            await self.deps.kubernetes.delete_object(CONFIG_MAPS, bell.namespace, bell.name)
            return replace(facts, note=None)
        body = {"kind": "ConfigMap", "metadata": {"name": bell.name, "ownerReferences": [bell.owner_reference()]}}
        ours = partial(is_owned, uid=bell.uid)
        try:
            note = await create_or_adopt(self.deps.kubernetes, CONFIG_MAPS, bell.namespace, body, ours)
        except Refused as error:
            return replace(facts, refusal=explain_refusal(error))
        return replace(facts, note=note)

    async def finish(self, facts: Facts, plan: Plan) -> float | None:  # noqa: ARG002  the engine's signature
        self.memories.get((facts.bell.namespace, facts.bell.name)).finished += 1
        return 30

    async def forget(self, key: Key) -> None:
        self.memories.forget(key)
        self.forgotten.append(key)


@dataclass
class World:
    kubernetes: FakeKubernetes
    controller: Controller[Bell, Facts, Plan]
    deps: Deps
    clock: list[datetime]

    @property
    def kind(self) -> BellKind:
        assert isinstance(self.controller.kind, BellKind)
        return self.controller.kind

    def raw(self) -> Object:
        return self.kubernetes.objects["bells", *KEY]

    def ready(self) -> tuple[str, str]:
        (ready,) = self.raw()["status"]["conditions"]
        return ready["status"], ready["reason"]

    async def step(self) -> float | None:
        return await self.controller.reconcile(KEY, 0.0)


@pytest.fixture
async def world() -> World:
    clock = [datetime(2026, 11, 30, tzinfo=UTC)]
    kubernetes = FakeKubernetes(lambda: clock[0])
    deps = Deps(
        kubernetes=kubernetes,
        settings=Settings(image="operator", namespace="bessemer", identity="me", deletion_seconds=900),
        recorder=EventRecorder(kubernetes, "me", lambda: clock[0]),
        metrics=Metrics(CollectorRegistry()),
        now=lambda: clock[0],
    )
    await kubernetes.create_object(BELLS, KEY[0], {"metadata": {"name": KEY[1]}, "spec": {"tone": "c"}})
    return World(kubernetes, Controller(deps, partial(BellKind, deps)), deps, clock)


async def test_a_pass_adds_the_finalizer_executes_writes_the_status_once_and_tells(world: World) -> None:
    assert await world.step() == 30
    assert world.raw()["metadata"]["finalizers"] == [FINALIZER]
    assert world.ready() == ("True", "Rings")
    writes = [call for call in world.kubernetes.calls if call[0] == "patch/status"]
    assert writes == [("patch/status", "bells", "door")]
    events = [raw["reason"] for (plural, _, _), raw in world.kubernetes.objects.items() if plural == "events"]
    assert events == ["Rings"]
    count = world.deps.metrics.registry.get_sample_value("bessemer_reconcile_seconds_count", {"kind": "Bell"})
    assert count == 1


async def test_what_was_created_is_adopted_and_what_is_anothers_is_a_refusal(world: World) -> None:
    await world.step()
    del world.kubernetes.objects["configmaps", *KEY]
    await world.kubernetes.create_object(CONFIG_MAPS, KEY[0], {"metadata": {"name": KEY[1]}})
    assert world.raw()["status"]["conditions"][0]["status"] == "True"
    facts = Facts(world.controller.model.parse(world.raw()), None)
    facts = await world.kind.execute(facts, Plan(BellStatus(), Hang()))
    assert facts.refusal is not None
    assert facts.refusal.reason == "NameTaken"
    mine = {"metadata": {"name": KEY[1], "ownerReferences": [facts.bell.owner_reference()]}}
    world.kubernetes.edit("configmaps", *KEY, mine)
    assert (await world.kind.execute(facts, Plan(BellStatus(), Hang()))).note is not None


async def test_a_status_is_written_only_to_the_object_that_was_observed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.step()
    observe = world.kind.observe

    async def observe_late(resource: Bell, woken: float) -> Facts:
        facts = await observe(resource, woken)
        world.kubernetes.edit("bells", *KEY, {"spec": {"tone": "d"}})
        return replace(facts, note=None, refusal=Refusal("PodRefused", "no"))

    monkeypatch.setattr(world.kind, "observe", observe_late)
    with pytest.raises(Retry) as caught:
        await world.step()
    assert (caught.value.reason, world.ready()) == ("Conflict", ("True", "Rings"))


async def test_a_deleted_object_is_taken_back_then_finalized_then_forgotten(world: World) -> None:
    await world.step()
    world.kubernetes.mark_deleted(world.raw())
    assert await world.step() == 0
    assert ("bells", *KEY) not in world.kubernetes.objects
    assert ("configmaps", *KEY) not in world.kubernetes.objects
    await world.step()
    assert (world.kind.forgotten, world.kind.memories.find(KEY)) == ([KEY], None)


async def test_a_fault_is_shown_and_lets_a_deleted_object_go_at_its_deadline(world: World) -> None:
    await world.step()
    await world.controller.show_fault(KEY, Fault("InternalError", "a fault"))
    assert world.ready() == ("False", "InternalError")
    world.kubernetes.mark_deleted(world.raw())
    await world.controller.show_fault(KEY, Fault("InternalError", "a fault"))
    assert ("bells", *KEY) in world.kubernetes.objects
    world.clock[0] = world.clock[0].replace(month=12, day=1)
    await world.controller.show_fault(KEY, Fault("InternalError", "a fault"))
    assert ("bells", *KEY) not in world.kubernetes.objects


async def test_decisions_that_come_to_no_end_are_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def do_nothing(facts: Facts, _plan: Plan) -> Facts:
        return facts

    monkeypatch.setattr(world.kind, "execute", do_nothing)
    with pytest.raises(Retry, match="TooManySteps"):
        await world.step()


async def call_handlers(controller: Controller[Any, Any, Any], plural: str, type_: str | None, raw: Object) -> None:
    """Call what is registered with kopf for a resource, as kopf does."""
    registry = watch.build_registry([controller], Hearing())
    for handler in registry._watching.get_all_handlers():
        selector = handler.selector
        if selector is not None and selector.plural in (plural, None) and plural in str(selector):
            call: Any = handler.fn
            await call(namespace=raw["metadata"]["namespace"], name=raw["metadata"]["name"], type=type_, body=raw)


async def test_events_of_objects_and_children_run_passes_in_the_objects_loop(world: World) -> None:
    await call_handlers(world.controller, "bells", None, world.raw())
    await asyncio.sleep(0.05)
    assert world.ready() == ("True", "Rings")
    finished = world.kind.memories.get(KEY).finished
    child = {"metadata": {"name": "x", "namespace": KEY[0], "labels": {"bell": KEY[1]}}}
    await call_handlers(world.controller, "configmaps", None, child)
    await asyncio.sleep(0.05)
    assert world.kind.memories.get(KEY).finished == finished + 1
    gone = world.kubernetes.objects.pop(("bells", *KEY))
    await call_handlers(world.controller, "bells", GONE, gone)
    await asyncio.sleep(0.05)
    assert world.kind.forgotten == [KEY]
    await world.controller.close()
