"""What the command shows of a trigger: its plan, its status, and its changes."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml
from rich.console import Console

from bessemer.console.session import Session
from bessemer.kinds.buildtrigger.view.status import build_trigger_status, summarize_trigger
from bessemer.kinds.buildtrigger.view.watch import watch_trigger
from tests.support.checkout import ROOT
from tests.support.plan import explain_plan_refusal
from tests.support.trigger_world import KEY, TriggerWorld, build_manifest, open_trigger_world, push_body

EXAMPLE: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "buildtrigger.yaml").read_text())
GITLAB: dict[str, Any] = EXAMPLE["spec"]["gitlab"]


@pytest.fixture
async def world() -> AsyncIterator[TriggerWorld]:
    async with open_trigger_world() as opened:
        await opened.apply()
        await opened.settle()
        yield opened


def change(**spec: Any) -> dict[str, Any]:
    return {**EXAMPLE, "spec": EXAMPLE["spec"] | spec}


def test_the_example_is_planned() -> None:
    assert explain_plan_refusal(EXAMPLE) == ""


def test_a_trigger_for_a_group_is_planned() -> None:
    gitlab = {name: value for name, value in GITLAB.items() if name != "project"} | {"group": "hpc"}
    rules = [{"name": "sites", "projects": ["hpc/site-*"], "push": {"branches": ["main"]}}]
    assert explain_plan_refusal(change(gitlab=gitlab, rules=rules)) == ""


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"rules": []}, "spec.rules: List should have at least 1 item"),
        ({"rules": [{"name": "x"}]}, "exactly one of push, tag, job, mergeRequest, pipeline and comment is required"),
        ({"rules": [{"name": "x", "comment": {}, "mode": "Plan"}]}, "mode and paths have no effect on comments"),
        ({"manifests": ["../x.yaml"]}, "must not contain the steps . and .."),
        ({"manifests": ["/x.yaml"]}, "spec.manifests[0]"),
        ({"allow": {"machines": ["a[3-1]"]}}, "spec.allow.machines[0]"),
        ({"on": []}, "spec.on: there is no such field"),
        ({"gitlab": GITLAB | {"group": "hpc"}}, "exactly one of project and group is required"),
        ({"gitlab": {k: v for k, v in GITLAB.items() if k != "project"}}, "exactly one of project and group is"),
        (
            {"rules": [{"name": "x", "push": {"branches": ["main"]}, "projects": ["hpc/a"]}]},
            "projects of a rule have an effect only where gitlab.group is given",
        ),
    ],
)
def test_a_bad_trigger_is_refused_naming_the_field(spec: dict[str, Any], said: str) -> None:
    assert said in explain_plan_refusal(change(**spec))


async def test_the_status_has_events_builds_and_conditions(world: TriggerWorld) -> None:
    commit = world.push("one", oxygen=build_manifest())
    await world.take(push_body(commit))
    await world.settle()
    raw = world.kubernetes.objects["buildtriggers", *KEY]
    assert summarize_trigger(raw) == ("True", "Listening", f"1 building, 0 waiting; last: push main {commit[:12]}")
    out = io.StringIO()
    Console(file=out, width=200).print(build_trigger_status(raw))
    for words in ("/v1/triggers/lab/site", "refs/heads/main", commit[:12], "Building", "oxygen", "SourceReachable"):
        assert words in out.getvalue()


async def test_each_change_of_an_event_is_a_line_until_the_trigger_is_gone(world: TriggerWorld) -> None:
    commit = world.push("one", oxygen=build_manifest(compute={"hosts": "evil[2-5]"}))
    out = io.StringIO()
    happenings = iter(["push", "gone"])

    async def sleep(_: float) -> None:
        if next(happenings) == "push":
            await world.take(push_body(commit))
            await world.settle()
        else:
            del world.kubernetes.objects["buildtriggers", *KEY]

    session = Session(world.kubernetes, KEY[0])  # type: ignore[arg-type]  # the fake has no logs
    code = await watch_trigger(session, KEY[1], None, console=Console(file=out, width=300), sleep=sleep)
    lines = out.getvalue().splitlines()
    assert code == 2
    assert any("Ready=True Listening" in line for line in lines)
    assert any(f"{commit[:12]}  main  Refused" in line and "evil[2-5] is not allowed" in line for line in lines)
    assert lines[-1].endswith("BuildTrigger site is gone")
