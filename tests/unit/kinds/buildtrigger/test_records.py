"""Records of events: what the operator did not write, or not leave, is ignored and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.api.buildtrigger.resource import parse_build_trigger
from bessemer.engine.ownkey import Seal
from bessemer.errors import Invalid
from bessemer.foreign import Unreadable
from bessemer.gitlab.events import Event, EventReader, OtherEvent, RefEvent
from bessemer.kinds.buildtrigger.records import parse_records, put_record
from bessemer.kube.protocol import CONFIG_MAPS
from tests.support.trigger_world import KEY, TriggerWorld, build_manifest, push_body, trigger_manifest


async def test_a_record_that_a_user_writes_leads_to_nothing_and_is_said(world: TriggerWorld) -> None:
    commit = world.push("one", oxygen=build_manifest())
    event = {
        "kind": "push",
        "ref": "refs/heads/main",
        "commit": commit,
        "rule": "main",
        "received": "2026-03-02T06:00:00Z",
    }
    trigger = world.kubernetes.objects["buildtriggers", *KEY]
    own = {
        "apiVersion": "bessemer.dev/v1alpha1",
        "kind": "BuildTrigger",
        "name": "site",
        "uid": trigger["metadata"]["uid"],
    }
    metadata = {
        "name": "site-event-0000000000000000",
        "labels": {"bessemer.dev/trigger": "site"},
        "annotations": {"bessemer.dev/seal": "0" * 64},
        "ownerReferences": [own],
    }
    await world.kubernetes.create_object(
        CONFIG_MAPS, KEY[0], {"metadata": metadata, "data": {"event": json.dumps(event)}}
    )
    await world.settle()
    assert world.build() is None
    assert world.status().get("events", []) == []
    assert world.condition("RecordsIntact") == ("False", "RecordForged")


@pytest.mark.parametrize("key", ["event", "outcome"])
async def test_a_record_that_a_user_changes_does_not_count_any_more(world: TriggerWorld, key: str) -> None:
    await world.take(push_body(world.push("one", oxygen=build_manifest())))
    await world.settle()
    ((name, raw),) = world.records().items()
    changed = raw["data"][key].replace("main", "evil").replace("Building", "Planned")
    world.kubernetes.edit("configmaps", KEY[0], name, {"data": {key: changed}})
    await world.settle()
    assert world.status().get("events", []) == []
    assert world.condition("RecordsIntact") == ("False", "RecordForged")


async def test_the_seal_of_one_record_is_worth_nothing_on_another(world: TriggerWorld) -> None:
    await world.take(push_body(world.push("one", oxygen=build_manifest())))
    await world.settle()
    (raw,) = world.records().values()
    copied = {"name": "site-event-copy", **{part: raw["metadata"][part] for part in ("labels", "annotations")}}
    await world.kubernetes.create_object(CONFIG_MAPS, KEY[0], {"metadata": copied, "data": raw["data"]})
    await world.settle()
    assert len(world.status()["events"]) == 1
    assert world.condition("RecordsIntact") == ("False", "RecordForged")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"name": st.text(min_size=1, max_size=20)}, optional=dict.fromkeys(("annotations", "ownerReferences"), JSON)
    ),
    st.fixed_dictionaries({}, optional=dict.fromkeys(("event", "outcome"), JSON)) | JSON,
)
def test_whatever_stands_in_a_config_map_is_no_record_and_no_error(metadata: dict[str, Any], data: Any) -> None:
    raw = trigger_manifest()
    raw["metadata"]["uid"] = "u"
    found = parse_records(parse_build_trigger(raw), [{"metadata": metadata, "data": data}], Seal(b"k" * 32))
    assert found.own == ()


def read(body: bytes) -> Event:
    reader = EventReader()
    for at in range(0, len(body), 7):
        reader.feed(body[at : at + 7])
    return reader.parse()


MEMBERS = st.sampled_from([
    "object_kind", "project_id", "project", "ref", "ref_protected", "before", "after", "checkout_sha", "push_options",
    "user_username",
])  # fmt: skip


@given(st.dictionaries(MEMBERS, JSON | st.sampled_from(["push", "tag_push", "refs/heads/main", "a" * 40, "0" * 40])))
def test_any_body_is_an_event_or_refused(body: dict[str, Any]) -> None:
    try:
        event = read(json.dumps(body).encode())
    except (Invalid, Unreadable):
        return
    if isinstance(event, RefEvent):
        assert event.ref.startswith(("refs/heads/", "refs/tags/"))
        assert event.commit is None or set(event.commit) <= set("0123456789abcdef")
    else:
        assert isinstance(event, OtherEvent)


def test_any_member_but_what_happened_may_be_missing() -> None:
    event = read(json.dumps({"object_kind": "push", "ref": "refs/heads/main", "after": "a" * 40}).encode())
    assert isinstance(event, RefEvent)
    assert (event.commit, event.before, event.protected, event.actor) == ("a" * 40, None, None, "")


def test_a_push_of_many_files_is_read() -> None:
    commits = [{"id": "b" * 40, "added": [f"f{number}" for number in range(2000)]} for _ in range(20)]
    event = read(json.dumps(push_body("a" * 40, commits=commits)).encode())
    assert isinstance(event, RefEvent)
    assert event.commit == "a" * 40


async def test_a_record_that_was_just_written_counts_as_if_all_were_read_again(world: TriggerWorld) -> None:
    for name in ("one", "two"):
        await world.take(push_body(world.push(name, oxygen=build_manifest())))
    trigger = parse_build_trigger(world.kubernetes.objects["buildtriggers", *KEY])
    seal, written = await world.kind.deps.own_key.get_seal(), list(world.records().values())
    whole = parse_records(trigger, written, seal)
    assert len(whole.own) == 2
    for raw in written:
        others = parse_records(trigger, [one for one in written if one is not raw], seal)
        assert put_record(trigger, others, raw, seal) == put_record(trigger, whole, raw, seal) == whole
        changed = {**raw, "data": {"event": raw["data"]["event"].replace("main", "evil")}}
        again = [changed if one is raw else one for one in written]
        assert put_record(trigger, whole, changed, seal) == parse_records(trigger, again, seal)
        assert put_record(trigger, put_record(trigger, whole, changed, seal), raw, seal) == whole


async def squat(world: TriggerWorld, metadata: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    """Have a user of the namespace take the name of the record of a push; return the commit."""
    commit = world.push("one", oxygen=build_manifest())
    await world.take(push_body(commit))
    ((name, raw),) = world.records().items()
    del world.kubernetes.objects["configmaps", KEY[0], name]
    await world.kubernetes.create_object(CONFIG_MAPS, KEY[0], {"metadata": {"name": name} | metadata(raw["metadata"])})
    return commit


@pytest.mark.parametrize("metadata", [lambda _: {}, lambda own: {"labels": own["labels"]}])
async def test_a_user_who_takes_the_name_of_a_record_causes_no_passes_without_a_pause(
    world: TriggerWorld, metadata: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    await world.settle()
    commit = await squat(world, metadata)
    assert await world.take(push_body(commit)) == "RecordForged"
    world.pass_time(4000)
    await world.settle()
    assert (await world.step() or 0) > 1, "there is nothing to do now"
    assert (world.build(), world.condition("RecordsIntact")) == (None, ("False", "RecordForged"))
    for name in world.records():
        del world.kubernetes.objects["configmaps", KEY[0], name]
    world.pass_time(4000)
    await world.settle()
    assert world.commit_of() == commit, "it is made good when the name is free again"


async def test_a_user_who_takes_the_name_of_a_repeated_event_causes_no_passes_without_a_pause(
    world: TriggerWorld,
) -> None:
    commit = world.push("one", oxygen=build_manifest())
    await world.take(push_body(commit))
    await world.settle()
    world.end_build()
    await world.settle()
    world.kubernetes.edit("buildtriggers", *KEY, {"metadata": {"annotations": {"bessemer.dev/again": "x"}}})
    before = set(world.records())
    await world.settle()
    (name,) = set(world.records()) - before
    world.kubernetes.edit("configmaps", KEY[0], name, {"metadata": {"annotations": {"bessemer.dev/seal": "y"}}})
    world.kubernetes.edit("buildtriggers", *KEY, {"status": {"handledAgain": None}})
    await world.settle()
    assert (await world.step() or 0) > 1
    assert world.condition("RecordsIntact") == ("False", "RecordForged")
