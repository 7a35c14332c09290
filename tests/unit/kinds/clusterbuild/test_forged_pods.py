"""Only the pods that we made say what became of a phase, whatever others make to look like them."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.engine.ownkey import OwnKey
from bessemer.kube.pods import SETTLED, parse_pod
from bessemer.kube.protocol import PODS, SECRETS, Object
from tests.support.world import NAMESPACE, SUCCESS, SYSTEM, World, manifest

VERIFY = "oxygen-verify-1"
FORGED = {"succeeded": True, "reason": "Succeeded", "message": "forged"}


def end_all_but_verify(world: World) -> None:
    """Bring a build to where Verify runs."""
    world.apply(manifest())
    for _ in range(60):
        world.step()
        if VERIFY in world.pods():
            return
        world.run_pods()
        world.pass_time(5)
    raise AssertionError("Verify never began")


def forge(world: World, like: str, name: str, **metadata: Any) -> None:
    """Create a pod with the metadata of another and a message of success, as who may create pods does."""
    raw = copy.deepcopy(world.pods()[like])
    raw["metadata"] |= {"name": name, **metadata}
    for theirs in ("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"):
        raw["metadata"].pop(theirs, None)
    succeed(raw)
    asyncio.run(world.kubernetes.create_object(PODS, NAMESPACE, raw))
    world.kubernetes.created.pop()


def succeed(raw: Object) -> None:
    ended = {"exitCode": 0, "message": json.dumps(FORGED), "finishedAt": "2026-11-23T12:00:00Z"}
    raw["status"] = {"phase": "Succeeded", "containerStatuses": [{"name": "phase", "state": {"terminated": ended}}]}


def labels(attempt: str, phase: str = "Verify") -> dict[str, str]:
    return {"bessemer.dev/build": "oxygen", "bessemer.dev/phase": phase, "bessemer.dev/attempt": attempt}


def assert_nothing_was_believed(world: World) -> None:
    status = world.build().status
    assert "forged" not in status.model_dump_json()
    assert not any("forged" in note for _, _, note in world.events())


@pytest.mark.parametrize(
    ("name", "attempt"),
    [
        ("innocent", "77"),
        ("innocent", "1"),
        ("innocent", "2"),
        ("oxygen-verify-2", "2"),
        ("oxygen-verify-77", "77"),
        ("oxygen-verify-1", "77"),
        ("oxygen-cleanup-1", "1"),
        ("innocent", "abc"),
        ("innocent", "-1"),
        ("innocent", "9" * 60),
        ("innocent", "\u0661"),
        ("innocent", ""),
    ],
)
def test_a_pod_with_copied_labels_owner_and_seal_is_no_result(world: World, name: str, attempt: str) -> None:
    end_all_but_verify(world)
    before = world.build().status.phases
    phase = "Cleanup" if "cleanup" in name else "Verify"
    if name in world.pods():
        world.kubernetes.edit("pods", NAMESPACE, name, {"metadata": {"labels": labels(attempt, phase)}})
    else:
        forge(world, VERIFY, name, labels=labels(attempt, phase))
    world.step()
    assert_nothing_was_believed(world)
    if name != VERIFY:
        assert world.build().status.phases == before
    world.delete()
    for _ in range(30):
        world.step()
        world.run_pods()
        world.pass_time(60)
    assert not world.exists(), "it can be deleted, at the latest when the deadline of deletions has passed"


def test_a_pod_that_replaces_our_pod_is_no_result(world: World) -> None:
    end_all_but_verify(world)
    raw = world.kubernetes.objects.pop(("pods", NAMESPACE, VERIFY))
    world.kubernetes.objects["pods", NAMESPACE, VERIFY] = raw
    forge_in_place = copy.deepcopy(raw)
    forge_in_place["metadata"]["uid"] = "another"
    succeed(forge_in_place)
    world.kubernetes.objects["pods", NAMESPACE, VERIFY] = forge_in_place
    world.step()
    assert_nothing_was_believed(world)
    phase = next(phase for phase in world.build().status.phases if phase.name == "Verify")
    assert (phase.state, phase.reason) == ("Failed", "PodLost")


def test_a_pod_of_the_name_of_the_next_attempt_is_refused_by_name(world: World) -> None:
    world.apply(manifest())
    world.step()
    forge(world, "oxygen-preflight-1", "oxygen-boot-management-1", labels=labels("1", "BootManagement"))
    world.run_pods()
    world.step()
    status, reason, message = world.condition("Progressing")
    assert (status, reason) == ("True", "NameTaken")
    assert "oxygen-boot-management-1" in message
    assert_nothing_was_believed(world)
    del world.kubernetes.objects["pods", NAMESPACE, "oxygen-boot-management-1"]
    world.settle()
    assert world.condition("Ready")[0] == "True"


def die_before_the_status() -> World:
    """A world whose operator died when the first pod was there, and its status was not written."""
    for call in range(40):
        world = World()
        world.apply(manifest())
        world.crash_once(call, after_effect=True)
        if world.pods():
            return world
    raise AssertionError("no pod was ever created")


def test_our_own_pod_is_adopted_after_a_crash_before_the_status() -> None:
    world = die_before_the_status()
    assert world.build().status.phases == [], "the status knows nothing of it yet"
    world.step()
    assert world.started() == ["oxygen-preflight-1"]
    phase = world.build().status.phases[0]
    assert (phase.attempt, phase.pod_uid) == (1, world.pods()["oxygen-preflight-1"]["metadata"]["uid"])


def test_a_pod_without_our_seal_is_not_adopted_after_a_crash() -> None:
    world = die_before_the_status()
    pod = world.pods()["oxygen-preflight-1"]
    for seal in ("", "0" * 64, "\ud800"):
        pod["metadata"]["annotations"]["bessemer.dev/seal"] = seal
        succeed(pod)
        world.step()
        assert world.condition("Progressing")[1] == "NameTaken"
        assert_nothing_was_believed(world)


def test_the_key_is_made_once_and_survives(world: World) -> None:
    first = asyncio.run(OwnKey(world.kubernetes, SYSTEM).get_seal())
    second = asyncio.run(OwnKey(world.kubernetes, SYSTEM).get_seal())
    assert first == second
    assert first.verify(first.sign("a", "b"), "a", "b")
    assert not first.verify(first.sign("ab"), "a", "b")
    assert not first.verify("\ud800", "a", "b")
    secrets = [key for key in world.kubernetes.objects if key[:2] == (SECRETS.plural, SYSTEM)]
    assert len(secrets) == 1
    assert first.key.hex() not in repr(first)


WORDS = st.sampled_from(
    ["metadata", "status", "spec", "labels", "annotations", "name", "uid", "phase", "ownerReferences", "controller",
     "creationTimestamp", "containerStatuses", "initContainerStatuses", "conditions", "state", "terminated", "waiting",
     "running", "exitCode", "message", "reason", "finishedAt", "deletionTimestamp", "deletionGracePeriodSeconds",
     "finalizers", "type", "bessemer.dev/attempt", "bessemer.dev/phase", "bessemer.dev/seal", "nodeName"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["phase", "Failed", "1"])
FOREIGN = st.recursive(
    LEAVES,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(WORDS | st.text(), part, max_size=5),
    max_leaves=25,
)
BESIDE = st.dictionaries(WORDS, FOREIGN, max_size=6)


@settings(deadline=None)
@given(BESIDE, BESIDE, BESIDE, FOREIGN)
def test_no_pod_makes_parsing_raise(metadata: Any, status: Any, terminated: Any, label: Any) -> None:
    statuses = [{"name": "phase", "state": {"terminated": terminated}}, label]
    for raw in (
        metadata,
        {"metadata": metadata, "status": status},
        {"metadata": {**metadata, "labels": {"bessemer.dev/attempt": label}}, "status": label, "spec": label},
        {"metadata": metadata, "status": {**status, "containerStatuses": statuses, "conditions": [label, status]}},
    ):
        fact = parse_pod(raw)
        assert isinstance(fact.attempt, int)
        assert fact.state in SETTLED or fact.result is not None


def test_success_is_what_our_own_pod_says(world: World) -> None:
    world.apply(manifest())
    world.settle()
    assert world.condition("Ready")[0] == "True"
    assert SUCCESS["message"] in world.build().status.model_dump_json()
