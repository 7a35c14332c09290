"""What the command has for runner pools: the plan, watching, the simulator."""

from __future__ import annotations

import io
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import yaml
from rich.console import Console

from bessemer.api.base import Condition
from bessemer.api.runnerpool.status import RunnerPoolStatus
from bessemer.cli import app as cli
from bessemer.cli.plan import print_plan
from bessemer.console.session import Session
from bessemer.errors import Invalid
from bessemer.kinds.runnerpool.demand import sources
from bessemer.kinds.runnerpool.view.status import describe_counts
from bessemer.kinds.runnerpool.view.watch import EventCounts, describe_changes, describe_events, watch_pool
from bessemer.kube.protocol import Object
from tests.support.checkout import ROOT
from tests.support.plan import explain_plan_refusal
from tests.support.pool_world import KEY, PoolWorld, open_pool_world

NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
EXAMPLE = ROOT / "examples" / "runnerpool.yaml"


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PoolWorld]:
    monkeypatch.setattr(sources, "SPACING_SECONDS", 0.0)
    async with open_pool_world() as world:
        yield world


def session(world: PoolWorld) -> Session:
    return Session(world.kubernetes, KEY[0])  # type: ignore[arg-type]  # the fake has no logs


async def watch(
    world: PoolWorld, seconds: float | None = 0, *happenings: Callable[[], Awaitable[None]]
) -> tuple[int, str]:
    """Watch a pool; one thing happens in each pause. Without a time, the last must end the pool."""
    out, to_come = io.StringIO(), iter(happenings)

    async def sleep(_: float) -> None:
        await next(to_come)()

    code = await watch_pool(session(world), KEY[1], seconds, console=Console(file=out, width=200), sleep=sleep)
    return code, out.getvalue()


async def vanish(world: PoolWorld) -> None:
    del world.kubernetes.objects["runnerpools", *KEY]


def test_the_plan_of_a_pool_is_its_configuration_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(EXAMPLE.read_text())
    out = capsys.readouterr().out
    assert out.startswith("# simulations: jobs of Project hpc/simulations, with tags among hpc; 0 to 20 at a time\n")
    (runner,) = tomllib.loads(out)["runners"]
    assert (runner["executor"], runner["token"]) == ("shell", "<the runner's token>")


def test_the_plan_has_what_a_pod_can_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    manifest = yaml.safe_load(EXAMPLE.read_text())
    manifest["spec"]["executor"] = {"type": "VirtualBox", "virtualbox": {"baseName": "lab", "user": "ci"}}
    print_plan(yaml.safe_dump(manifest))
    (runner,) = tomllib.loads(capsys.readouterr().out)["runners"]
    assert (runner["executor"], runner["virtualbox"]) == ("virtualbox", {"base_name": "lab"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"min": 21}, "spec: min must not be greater than max"),
        ({"runner": {"managed": {}, "tags": []}}, "spec.runner: tags, or runUntagged: true, are required"),
        ({"runner": {"managed": {}, "tags": ["a", "b", "a"]}}, "spec.runner.tags[2]: Duplicate value: a"),
        ({"executor": {"type": "VirtualBox"}}, "spec.executor: virtualbox is required"),
        (
            {"executor": {"type": "Docker", "docker": {"image": "debian", "settings": {"devices": [None]}}}},
            "spec.executor.docker.settings: devices[0]: None can't stand in config.toml",
        ),
        (
            {"pod": {"labels": {"bessemer.dev/phase": "Verify"}}},
            "spec.pod.labels: bessemer.dev/phase: names that begin",
        ),
        (
            {"schedules": [{"name": "day", "start": "7 0 * * 1", "durationSeconds": 60, "min": 0}] * 2},
            "spec.schedules[1]: Duplicate value: {'name': 'day'}",
        ),
    ],
)
def test_the_plan_refuses_what_the_api_server_or_the_pool_refuses(changes: dict[str, Any], said: str) -> None:
    manifest = yaml.safe_load(EXAMPLE.read_text())
    manifest["spec"] |= changes
    assert explain_plan_refusal(manifest).startswith(f"the manifest is not valid:\n  {said}")


def test_a_field_that_a_pool_does_not_have_is_named() -> None:
    manifest = yaml.safe_load(EXAMPLE.read_text())
    manifest["spec"]["maximum"] = 3
    with pytest.raises(Invalid, match=r"spec\.maximum: there is no such field"):
        print_plan(yaml.safe_dump(manifest))


async def test_watching_tells_conditions_and_counts_and_exits_with_0_while_the_pool_serves(world: PoolWorld) -> None:
    await world.apply(min=1)
    await world.settle()
    world.start_pods()
    await world.settle()
    world.controller._paces[KEY].changed = 0.0  # counts alone are written when they are a second old
    await world.settle()
    code, out = await watch(world)
    assert code == 0
    assert "Ready=True (Serving)" in out
    assert "0 pending; pods: 0 running, 0 starting, 1 idle" in out


async def test_watching_exits_with_1_while_the_pool_can_not_serve_and_says_why(world: PoolWorld) -> None:
    await world.apply()
    await world.put_secret("runner", "glrt-wrong")
    await world.settle()
    code, out = await watch(world)
    assert code == 1
    assert "Ready=False (TokenRefused)" in out


async def test_watching_ends_with_2_when_the_pool_is_gone(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    code, out = await watch(world, None, partial(vanish, world))
    assert (code, "RunnerPool lab is gone" in out) == (2, True)


async def test_each_decision_about_scale_is_told_once_with_its_reason_and_those_of_before_are_not(
    world: PoolWorld,
) -> None:
    await world.apply()
    await world.settle()
    assert any(event.get("reason") == "NotYetPolled" for event in world.kubernetes.objects.values())

    async def queue() -> None:
        world.queue(11, 12)
        await world.settle()

    code, out = await watch(world, None, queue, world.settle, partial(vanish, world))
    assert code == 2
    assert out.count("Created: 2 pods, for jobs 11, 12") == 1
    assert "NotYetPolled" not in out


def test_an_event_is_told_again_when_it_was_repeated_and_not_beside_the_condition_that_says_the_same() -> None:
    counts = EventCounts([])
    event: Object = {
        "metadata": {"name": "e"},
        "reason": "QuotaExceeded",
        "note": "ScalingLimited: no room",
        "eventTime": "1",
    }
    assert counts.take([event]) == [event]
    assert counts.take([event]) == []
    repeated = event | {"series": {"count": 2}}
    assert counts.take([repeated]) == [repeated]
    limited = Condition(
        type="ScalingLimited", status="True", reason="QuotaExceeded", message="no room", last_transition_time=NOW
    )
    assert describe_events([event], RunnerPoolStatus(conditions=[limited])) == []
    assert describe_events([event], RunnerPoolStatus()) == ["QuotaExceeded: ScalingLimited: no room"]


def test_a_change_is_told_once() -> None:
    before = RunnerPoolStatus(observed_generation=1, running=2)
    assert describe_changes(before, before) == []
    after = RunnerPoolStatus(observed_generation=1, running=2, starting=1, idle=1)
    assert describe_changes(before, after) == [describe_counts(after)]
    assert describe_counts(after).startswith("|##+.    ")


def test_a_kind_that_can_not_be_watched_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bessemer", "watch", "pod/x"])
    with pytest.raises(SystemExit):
        cli.main()
    assert (
        "clusterbuild/NAME (cb/NAME) or runnerpool/NAME (rp/NAME) or buildtrigger/NAME (bt/NAME) is wanted"
        in capsys.readouterr().err
    )
