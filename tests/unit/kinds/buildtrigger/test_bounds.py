"""What a repository may cost: time, bytes and files of one event, and lists that can't be read."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from bessemer.api.buildtrigger.resource import parse_build_trigger
from bessemer.errors import Invalid
from bessemer.gitlab.answers import AnswerTooLarge, AnswerTooSlow
from bessemer.kinds.buildtrigger import resolve
from bessemer.kinds.buildtrigger.deps import JUDGED_AT_ONCE
from bessemer.kinds.buildtrigger.judge import judge_files
from bessemer.kinds.buildtrigger.manifests import MOST_MARKS, parse_clusters
from bessemer.kinds.buildtrigger.records import RecordedEvent
from tests.support.trigger_world import KEY, MAIN, PROJECT, TriggerWorld, build_manifest, push_body


async def receive(world: TriggerWorld, commit: str) -> None:
    await world.take(push_body(commit))
    await world.settle()


def test_an_event_has_two_minutes_and_two_mebibytes() -> None:
    assert (resolve.READ_SECONDS, resolve.MOST_BYTES) == (120, 2 * 1024 * 1024)


async def test_files_that_do_not_come_delay_an_event_and_hold_up_no_pass(
    world: TriggerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "READ_SECONDS", 0.05)
    read = world.repository.get_file

    async def hang(*_: Any) -> bytes | None:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(world.repository, "get_file", hang)
    commit = world.push("one", oxygen=build_manifest())
    await receive(world, commit)
    assert world.states() == [("Waiting", "GitLabUnavailable")]
    assert "not all read within 0.05 s" in world.status()["events"][0]["message"]
    assert world.build() is None
    monkeypatch.setattr(world.repository, "get_file", read)
    world.pass_time(60)
    await world.settle()
    assert world.commit_of() == commit


@pytest.mark.parametrize(("size", "state"), [(0, "Building"), (1, "Refused")])
async def test_files_may_have_two_mebibytes_together_and_not_a_byte_more(
    world: TriggerWorld, size: int, state: str
) -> None:
    manifest = build_manifest()
    left, files = resolve.MOST_BYTES + size - len(manifest), dict[str, Any]()
    while left > 0:
        part = min(left, 200_000)
        files[f"blank{len(files)}"] = b"#" + b" " * (part - 1)
        left -= part
    await receive(world, world.push("one", oxygen=manifest, **files))
    assert world.states()[0][0] == state, world.status()["events"][0]
    assert world.repository.calls.count("get_file") == len(files) + 1
    if state == "Refused":
        assert "longer than 2097152 bytes together" in world.status()["events"][0]["message"]


async def test_no_file_is_read_where_there_are_too_many(world: TriggerWorld) -> None:
    files: dict[str, Any] = {f"c{number}": build_manifest(f"c{number}") for number in range(resolve.MOST_FILES + 1)}
    await receive(world, world.push("one", **files))
    assert world.states() == [("Refused", "InvalidManifest")]
    assert "get_file" not in world.repository.calls


async def test_branches_that_can_not_be_listed_hold_up_no_event(
    world: TriggerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = world.repository.list_heads

    async def fail(_project: str) -> Any:
        raise AnswerTooLarge("the branches can't all be read")

    monkeypatch.setattr(world.repository, "list_heads", fail)
    world.pass_time(601)
    await world.settle()
    assert world.condition("SourceReachable") == ("False", "RefsTooLarge")
    commit = world.push("one", oxygen=build_manifest())
    await receive(world, commit)
    assert world.commit_of() == commit
    monkeypatch.setattr(world.repository, "list_heads", listed)
    world.pass_time(601)
    await world.settle()
    assert world.condition("SourceReachable") == ("True", "Reachable")


@pytest.mark.parametrize("call", ["get_head", "get_file", "list_files"])
async def test_an_answer_that_is_too_large_costs_only_its_own_event(
    world: TriggerWorld, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Anyone who may push to a branch can cause one."""
    await world.apply(rules=[{"name": "all", "push": {"branches": ["*"], "protectedOnly": False}}])
    real, bad = getattr(world.repository, call), world.push("bad", "refs/heads/bad", oxygen=build_manifest())

    async def answer(project: str, *arguments: str) -> Any:
        if "refs/heads/bad" in arguments or bad in arguments:
            raise AnswerTooLarge("an answer of more than 4 MiB")
        return await real(project, *arguments)

    monkeypatch.setattr(world.repository, call, answer)
    await world.take(push_body(bad, ref="refs/heads/bad"))
    commit = world.push("one", oxygen=build_manifest())
    await receive(world, commit)
    reason = "CommitTooLarge" if call == "get_head" else "InvalidManifest"
    assert world.states() == [("Refused", reason), ("Building", "Applied")]
    assert world.commit_of() == commit


async def test_an_answer_that_is_only_slow_is_asked_for_again(
    world: TriggerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, slow = world.repository.get_file, [True]

    async def answer(*arguments: str) -> Any:
        if slow.pop() if slow else False:
            raise AnswerTooSlow("not all of it in 5 s")
        return await real(*arguments)

    monkeypatch.setattr(world.repository, "get_file", answer)
    commit = world.push("one", oxygen=build_manifest())
    await receive(world, commit)
    assert world.states() == [("Waiting", "GitLabUnavailable")]
    world.pass_time(60)
    await world.settle()
    assert world.commit_of() == commit


async def test_with_more_changes_than_are_read_every_path_filter_holds(
    world: TriggerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.apply(rules=[{"name": "main", "push": {"branches": ["main"]}, "paths": ["other/**"]}])
    before = world.push("zero", oxygen=build_manifest())

    async def answer(*_: str, **__: bool) -> Any:
        raise AnswerTooLarge("an answer of more than 4 MiB")

    monkeypatch.setattr(world.repository, "compare", answer)
    commit = world.push("one", oxygen=build_manifest())
    await world.take(push_body(commit, before=before))
    await world.settle()
    assert world.commit_of() == commit


@pytest.mark.parametrize(
    "unit",
    ["- a: b\n", "---\na\n", "? x\n", "{a: b},", '[{"a":1},', "a:\r", "-\r", "- a\x85", "-\u2028", "-\u2029"],
)
def test_files_that_would_take_long_to_read_as_yaml_are_refused_before_that(unit: str) -> None:
    content = unit.encode() * (2_000_000 // len(unit.encode()))
    began = time.monotonic()
    with pytest.raises(Invalid, match="InvalidManifest: more than 200000"):
        parse_clusters({"clusters/a.yaml": content}, KEY[0], {}, "0" * 40)
    assert time.monotonic() - began < 5


def test_a_manifest_of_a_thousand_nodes_is_far_from_that() -> None:
    macs = [f"52:54:00:8d:{number >> 8:02x}:{number & 255:02x}" for number in range(1000)]
    manifest = build_manifest(compute={"hosts": "oxygen[2-1001]", "macs": macs, "addresses": "10.141.0.[2-1001]"})
    assert sum(manifest.count(mark) for mark in (b"\n", b",", b"[", b"{", b": ")) * 50 < MOST_MARKS


async def test_few_events_are_read_as_yaml_at_once(world: TriggerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = [0], [0]

    def slow(*arguments: Any) -> Any:
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.05)
        running[0] -= 1
        return judge_files(*arguments)

    monkeypatch.setattr(resolve, "judge_files", slow)
    trigger = parse_build_trigger(world.kubernetes.objects["buildtriggers", *KEY])
    assert trigger.spec is not None
    commit = world.push("one", oxygen=build_manifest())
    event = RecordedEvent(kind="push", ref=MAIN, commit=commit, rule="main", received=world.now())
    head = await world.repository.get_head(PROJECT, MAIN)
    assert head is not None
    places = world.kind.deps.judging
    await asyncio.gather(
        *(resolve.resolve_event(world.repository, trigger, trigger.spec, event, head, places) for _ in range(8))
    )
    assert most == [JUDGED_AT_ONCE]
