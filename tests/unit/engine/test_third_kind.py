"""A kind that the product does not have, by the real engine: watched, brought forward, shown, finalized, deleted.

It is one line of the registry: the process, the command, the uninstaller and the chart have it from there.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import yaml
from pydantic import Field

from bessemer import registry
from bessemer.api.base import ApiModel, Condition, Resource, parse_resource
from bessemer.api.crd import CustomResource
from bessemer.api.wellknown import MANAGED_BY, MANAGED_BY_LABEL
from bessemer.cli.kinds import explain_names, parse_name
from bessemer.cli.plan import print_plan
from bessemer.cli.status import print_list, print_objects
from bessemer.cli.uninstall import delete_finalizers, delete_leases
from bessemer.console.form import Form
from bessemer.console.session import Session
from bessemer.console.view import View
from bessemer.crdgen import compute_files
from bessemer.engine import watch
from bessemer.engine.cache import ObjectCache
from bessemer.engine.conditions import Verdict, compute_conditions
from bessemer.engine.controller import GONE, Controller
from bessemer.engine.deps import Deps
from bessemer.engine.description import Description, Leftover, Permission
from bessemer.engine.event_facts import EventFact
from bessemer.engine.faults import Fault
from bessemer.engine.hearing import Hearing
from bessemer.engine.kind import Child, Kind, Model, Wake
from bessemer.engine.loop import Key
from bessemer.engine.memory import Memories
from bessemer.engine.objects import create_or_adopt, is_owned
from bessemer.engine.plan import Reason
from bessemer.engine.refusals import Refusal, explain_refusal
from bessemer.errors import Invalid, Retry
from bessemer.kube.protocol import CONFIG_MAPS, LEASES, Object, Refused
from bessemer.kube.protocol import Kind as ResourceKind
from bessemer.process import build_controllers
from tests.fakes.deps import build_deps
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.watcher import FakeWatcher

BELLS = ResourceKind("bessemer.dev", "v1alpha1", "bells")
KEY = ("lab", "gate")
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
    deps = build_deps(kubernetes, lambda: clock[0])
    await kubernetes.create_object(BELLS, KEY[0], {"metadata": {"name": KEY[1]}, "spec": {"tone": "c"}})
    return World(kubernetes, Controller(deps, partial(BellKind, deps)), deps, clock)


async def test_a_pass_adds_the_finalizer_executes_writes_the_status_once_and_tells(world: World) -> None:
    assert await world.step() == 30
    assert world.raw()["metadata"]["finalizers"] == [FINALIZER]
    assert world.ready() == ("True", "Rings")
    writes = [call for call in world.kubernetes.calls if call[0] == "patch/status"]
    assert writes == [("patch/status", "bells", "gate")]
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


async def watch_bell(session: Session, name: str, seconds: float | None, form: Form | None) -> int:
    return 3 if await session.require(BELLS, "Bell", name) else 0


def print_bell_plan(name: str, spec: BellSpec, _form: Form | None) -> None:
    sys.stdout.write(f"{name} would ring {spec.tone}\n")


BELL = Description(
    name="Bell",
    plural="bells",
    short="bl",
    finalizer=FINALIZER,
    manifest_help="its tone",
    watch_help="3 always",
    make=lambda deps, _watcher: partial(BellKind, deps),
    get_crd=lambda: CustomResource("Bell", "bells", "bl", "A bell.", (BellSpec, BellStatus), (), ()),
    get_view=lambda: View(
        lambda raw: ("True", "Rings", raw["spec"]["tone"]),
        lambda raw: f"the bell {raw['metadata']['name']}",
        watch_bell,
        print_bell_plan,
    ),
    permissions=(Permission(BELLS, ("get",)), Permission(CONFIG_MAPS, ("get", "list", "watch", "create", "delete"))),
    leftovers=(Leftover(CONFIG_MAPS, f"{FINALIZER}-note", "bell"),),
    lease_prefix="bell-",
)


@pytest.fixture
def one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "KINDS", (*registry.KINDS, BELL))


@pytest.mark.usefixtures("one_line")
async def test_one_line_has_the_process_watch_it(world: World) -> None:
    controllers = build_controllers(world.deps, FakeWatcher())
    handlers = [
        str(handler.id) for handler in watch.build_registry(controllers, Hearing())._watching.get_all_handlers()
    ]
    assert [name for name in handlers if name.startswith("Bell")] == ["Bell", "Bell-configmaps-0"]
    assert await controllers[-1].reconcile(KEY, 0.0) == 30
    assert world.ready() == ("True", "Rings")
    for controller in controllers:
        await controller.close()


@pytest.mark.usefixtures("one_line")
async def test_one_line_has_the_command_list_show_follow_and_plan_it(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(world.kubernetes, KEY[0])  # type: ignore[arg-type]  # the fake has no logs
    await print_list(session, None, all_namespaces=False)
    assert "bell/gate  True   Rings   c" in capsys.readouterr().out
    await print_objects(session, ["bl/gate"], None)
    assert capsys.readouterr().out == "the bell gate\n"
    kind, name = parse_name("bells.bessemer.dev/gate")
    assert await kind.get_view().watch(session, name, None, None) == 3
    head = "apiVersion: bessemer.dev/v1alpha1\nkind: Bell\nmetadata: {name: gate}\n"
    print_plan(head + "spec: {tone: c}")
    assert capsys.readouterr().out == "gate would ring c\n"
    with pytest.raises(Invalid, match="bell/NAME"):
        parse_name("gong/gate")
    assert "bell/NAME (bl/NAME)" in explain_names()


@pytest.mark.usefixtures("one_line")
async def test_one_line_has_the_uninstaller_free_it(world: World) -> None:
    await world.step()
    note = {"metadata": {"name": "note", "labels": {"bell": "gate"}, "finalizers": [f"{FINALIZER}-note"]}}
    await world.kubernetes.create_object(CONFIG_MAPS, KEY[0], note)
    lease = {"metadata": {"name": "bell-gate", "labels": {MANAGED_BY_LABEL: MANAGED_BY}}}
    await world.kubernetes.create_object(LEASES, "bessemer", lease)
    assert await delete_finalizers(world.kubernetes) == 2
    assert world.raw()["metadata"]["finalizers"] == []
    assert await delete_leases(world.kubernetes, "bessemer") == 1


@pytest.mark.usefixtures("one_line")
def test_one_line_has_the_chart_serve_and_allow_it() -> None:
    files = {name: yaml.safe_load(text) for name, text in compute_files().items() if name.endswith(".yaml")}
    assert files["crds/bessemer.dev_bells.yaml"]["spec"]["names"]["shortNames"] == ["bl"]
    assert files["helm/bessemer/files/author-policies.yaml"]["bells"]["policies"]
    roles = files["helm/bessemer/files/roles.yaml"]
    allowed = {
        role: {(rule["resources"][0], verb) for rule in rules for verb in rule["verbs"]}
        for role, rules in roles.items()
    }
    needed = {("bells", verb) for verb in ("get", "list", "watch", "patch")}
    needed |= {("bells/status", "patch"), ("bells/finalizers", "update"), ("configmaps", "watch")}
    assert needed <= allowed["watched"]
    assert {("bells", "patch"), ("configmaps", "patch")} <= allowed["uninstall"]
    assert {("bells", "get"), ("bells/status", "get")} <= allowed["view"]
    assert ("bells", "create") in allowed["edit"]
