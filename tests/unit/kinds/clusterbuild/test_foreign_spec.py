"""A spec that others nested, filled or garbled is InvalidSpec, said once; its build can be mended and deleted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bessemer.foreign import decode_cut
from bessemer.kinds.clusterbuild import execute
from tests.support.world import NAMESPACE, World, manifest


def read_back(depth: int, opened: str = '{"a":', closed: str = "}") -> Any:
    """What is read of a value that a tenant nested that deep."""
    return decode_cut((opened * depth + "1" + closed * depth).encode())


def store(world: World, variables: Any) -> None:
    spec = world.kubernetes.objects["clusterbuilds", NAMESPACE, "oxygen"]["spec"]
    spec["configuration"]["variables"] = variables


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (read_back(33), "spec.configuration.variables: is nested deeper than 32 levels"),
        (read_back(1_200), "spec.configuration.variables: is nested deeper than 32 levels"),
        (read_back(9_999), "spec.configuration.variables: is nested deeper than 32 levels"),
        ({"a": read_back(9_999, "[", "]")}, "spec.configuration.variables: is nested deeper than 32 levels"),
        ({"a": [float("inf")]}, "spec.configuration.variables: holds a number that is too large"),
        ([], "spec.configuration.variables: Input should be a valid dictionary"),
    ],
    ids=["33", "1200", "9999", "lists", "infinite", "list"],
)
def test_a_spec_that_no_program_can_follow_is_named_and_can_be_deleted(world: World, variables: Any, said: str) -> None:
    world.apply(manifest())
    world.apply(manifest("other", management={"mac": "52:54:00:77:00:99"}, compute={"macs": ["52:54:00:77:00:98"]}))
    store(world, variables)
    for _ in range(3):
        world.step()
    assert world.condition("Ready")[:2] == ("False", "InvalidSpec")
    assert world.condition("Ready")[2] == said
    assert len([event for event in world.events() if event[1] == "InvalidSpec"]) == 1
    assert world.started() == []
    world.delete()
    world.settle()
    assert not world.exists()


def test_32_levels_are_as_good_as_one(world: World) -> None:
    world.apply(manifest())
    store(world, read_back(32))
    world.settle()
    assert world.condition("Ready")[0] == "True"
    told = world.kubernetes.objects["configmaps", NAMESPACE, "oxygen-verify-1"]["data"]["input.json"]
    assert json.loads(told)["spec"]["configuration"]["variables"] == read_back(32)


def test_a_spec_that_no_config_map_can_hold_is_final_and_said_once(world: World) -> None:
    world.apply(manifest())
    store(world, {"filler": "x" * 1_100_000})
    for _ in range(5):
        assert world.step() is None, "nothing but a change of the spec can help"
        world.pass_time(300)
    assert world.condition("Ready")[:2] == ("False", "InvalidSpec")
    assert "spec: is longer than 1044480 bytes" in world.condition("Ready")[2]
    assert len([event for event in world.events() if event[1] == "InvalidSpec"]) == 1
    assert "configmaps" not in {kind for kind, _ in world.kubernetes.created}
    world.delete()
    world.settle()
    assert not world.exists()


def test_spec_and_nodes_that_no_config_map_can_hold_are_final_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "MOST_INPUT_BYTES", 100)
    world.apply(manifest())
    for _ in range(3):
        assert world.step() is None
    assert world.condition("Ready")[:2] == ("False", "InvalidSpec")
    assert world.condition("Progressing")[0] == "False"
    assert "configmaps" not in {kind for kind, _ in world.kubernetes.created}


def test_sixteen_long_scripts_are_taken(world: World) -> None:
    job = {"nodes": "All", "expect": {"everyNode": True}}
    jobs = [{"name": f"job{number}", **job, "script": "#!/bin/sh\n#" + "x" * 64_980} for number in range(16)]
    world.apply(manifest(verify={"jobs": jobs}))
    world.settle()
    assert world.condition("Ready")[0] == "True"
