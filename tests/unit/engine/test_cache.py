"""Objects as the watch last reported them are parsed once for each version."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.api.base import parse_resource
from bessemer.engine.cache import ObjectCache
from tests.support.trigger_world import URL, TriggerWorld, open_trigger_world, push_body

KEY = ("lab", "x")


def version(number: int) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(number)}}


def test_a_version_is_parsed_once_and_the_next_one_again() -> None:
    cache, parsed = ObjectCache(), list[str]()

    def parse(raw: dict[str, Any]) -> str:
        parsed.append(raw["metadata"]["resourceVersion"])
        return parsed[-1]

    assert cache.parse(KEY, parse) is None
    cache.put(KEY, version(1))
    assert [cache.parse(KEY, parse) for _ in range(3)] == ["1", "1", "1"]
    cache.put(KEY, version(1))
    cache.put(KEY, version(2))
    assert [cache.parse(KEY, parse) for _ in range(3)] == ["2", "2", "2"]
    assert parsed == ["1", "2"]
    cache.drop(KEY)
    assert cache.parse(KEY, parse) is None
    cache.put(KEY, version(1))
    assert cache.parse(KEY, parse) == "1"


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    def count(make: Any, spec: Any, status: Any, raw: Any) -> Any:
        found.append(raw["metadata"]["namespace"])
        return parse_resource(make, spec, status, raw)

    monkeypatch.setattr("bessemer.api.buildtrigger.resource.parse_resource", count)
    return found


def put_elsewhere(world: TriggerWorld) -> None:
    """Have a trigger of another tenant be known, whose spec takes a while to parse."""
    raw = dict(world.kubernetes.objects["buildtriggers", "lab", "site"])
    raw["metadata"] = raw["metadata"] | {"namespace": "elsewhere", "uid": "other"}
    raw["spec"] = raw["spec"] | {"gitlab": raw["spec"]["gitlab"] | {"url": f"{URL}/other"}}
    world.controller.objects.put(("elsewhere", "site"), raw)


async def test_strangers_and_passes_of_other_tenants_do_not_have_an_object_parsed(parsed: list[str]) -> None:
    async with open_trigger_world() as world:
        await world.apply()
        await world.settle()
        put_elsewhere(world)
        await world.settle()
        parsed.clear()
        for _ in range(4):
            assert (await world.deliver(push_body("0" * 40), {"X-Gitlab-Token": "wrong"}))[0] == 401
            world.pass_time(60)
            await world.step()
        assert "elsewhere" not in parsed
        assert len(parsed) <= 4  # a separate version for each pass that has written the status
