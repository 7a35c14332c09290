"""Cleanup: everything staged is taken back, whatever else is broken, and machines are switched off on request."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest

from bessemer.api.phase_contract import PhaseName, PhaseResult
from bessemer.errors import Invalid
from bessemer.machines.netboot.server import BootServerFailed
from bessemer.machines.power.protocol import PowerState
from bessemer.phases import cleanup
from tests.fakes.netboot import FakeBootServer
from tests.unit.phases.builders import FakeContext, build_input, build_spec

HOSTS = ["oxygen1", "oxygen2", "oxygen3"]


def make_context(**fields: Any) -> FakeContext:
    context = FakeContext(build_input(PhaseName.CLEANUP, build_spec(2), **fields), HOSTS)
    for name, hosts in (("boot-host", ["oxygen1"]), ("oxygen1", ["oxygen2", "oxygen3"])):
        server = context.boot_servers[name] = FakeBootServer()
        server.prepare()
        server.stage([entry(host, persistent=host == "oxygen3") for host in hosts])
    return context


def entry(host: str, build: str = "uid-1", persistent: bool = False) -> dict[str, Any]:
    return {"host": host, "build": build, "attempt": "d-1-1", "address": "", "persistent": persistent, "armed": True}


def run(context: FakeContext) -> PhaseResult:
    return cleanup.run(context.phase_input, context)


def test_nothing_staged_is_left() -> None:
    context = make_context()
    assert run(context).succeeded
    assert [list(server.entries) for server in context.boot_servers.values()] == [[], []]
    assert not context.boot_servers["boot-host"].prepared
    assert context.fake_power.commands == []


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_call_that_fails_at_any_moment_is_never_taken_for_nothing_to_do(how: str) -> None:
    for failing in range(8):
        context = make_context()
        calls = itertools.count()

        def call(method: Any, *arguments: Any, calls: Any = calls, failing: int = failing, **named: Any) -> Any:
            fails = next(calls) == failing
            if fails and how == "before":
                raise BootServerFailed("made to fail")
            result = method(*arguments, **named)
            if fails:
                raise BootServerFailed("made to fail")
            return result

        for server in context.boot_servers.values():
            for name in ("withdraw", "release"):
                setattr(server, name, functools.partial(call, getattr(server, name)))
        result = run(context)
        told = "made to fail" in result.message
        left = [host for server in context.boot_servers.values() for host in server.entries]
        assert (told, told or not left) == (failing < 4, True)
        assert result.succeeded == (failing >= 2)  # the first two are the boot host's


def test_entries_of_stateless_nodes_stay_after_success() -> None:
    context = make_context(keep_persistent=True)
    assert run(context).succeeded
    assert list(context.boot_servers["oxygen1"].entries) == ["oxygen3"]


def test_a_stateless_node_that_left_the_spec_loses_its_entry() -> None:
    context = make_context(keep_persistent=True)
    context.boot_servers["oxygen1"].stage([entry("oxygen9", persistent=True)])
    assert run(context).succeeded
    assert list(context.boot_servers["oxygen1"].entries) == ["oxygen3"]


def test_after_success_the_sites_boot_host_has_nothing_left_and_no_daemon_runs_there() -> None:
    context = make_context(keep_persistent=True)
    assert run(context).succeeded
    assert context.boot_servers["boot-host"].entries == {}
    assert not context.boot_servers["boot-host"].prepared
    assert context.boot_servers["oxygen1"].prepared


def test_entries_of_other_builds_stay_and_keep_the_daemon_up() -> None:
    context = make_context()
    context.boot_servers["boot-host"].stage([entry("argon1", "uid-2")])
    assert run(context).succeeded
    assert list(context.boot_servers["boot-host"].entries) == ["argon1"]
    assert context.boot_servers["boot-host"].prepared


def test_a_boot_host_that_fails_is_a_failure_but_the_rest_is_done() -> None:
    context = make_context(power_off=True)
    context.boot_servers["boot-host"].broken = True
    result = run(context)
    assert (result.succeeded, result.reason, result.retryable) == (False, "CleanupIncomplete", True)
    assert "the boot server is made to fail" in result.message
    assert context.boot_servers["oxygen1"].entries == {}
    assert set(context.fake_power.states.values()) == {PowerState.OFF}


def test_a_management_node_that_fails_is_reported_but_no_failure() -> None:
    context = make_context()
    context.boot_servers["oxygen1"].broken = True
    result = run(context)
    assert result.succeeded
    assert "the boot server is made to fail" in result.message


def test_all_machines_are_switched_off_and_read_back() -> None:
    context = make_context(power_off=True)
    context.fake_power.on(HOSTS)
    assert run(context).succeeded
    assert context.fake_power.commands[-1] == ("off", "oxygen[1-3]")
    assert set(context.fake_power.states.values()) == {PowerState.OFF}


def test_a_machine_that_stays_on_is_named_after_the_deadline() -> None:
    context = make_context(power_off=True)
    context.fake_power.on(HOSTS)
    context.fake_power.dead = {"oxygen2"}
    started = context.clock.now()
    result = run(context)
    assert result.reason == "CleanupIncomplete"
    assert "oxygen2: not off after 60 s" in result.message
    assert 60 <= context.clock.now() - started < 65


def test_a_silent_machine_is_named_and_the_others_are_switched_off() -> None:
    context = make_context(power_off=True)
    context.fake_power.on(HOSTS)
    context.fake_power.silent = {"oxygen2"}
    result = run(context)
    assert result.message.startswith("oxygen2: not off after 60 s: power control: no answer within 120 s")
    assert context.fake_power.states == dict.fromkeys(HOSTS, PowerState.OFF) | {"oxygen2": PowerState.ON}


def test_unknown_machines_and_a_dead_power_control_are_told() -> None:
    context = make_context(power_off=True)
    del context.fake_power.states["oxygen3"]
    assert "doesn't know oxygen3" in run(context).message
    context = make_context(power_off=True)
    context.fake_power.unreachable = True
    assert "power control is made unreachable" in run(context).message


def test_a_build_without_boot_host_is_cleaned_up() -> None:
    context = make_context()
    context.phase_input = context.phase_input.model_copy(
        update={"spec": context.phase_input.spec.model_copy(update={"boot_host": None})}
    )
    assert run(context).succeeded
    assert context.boot_servers["boot-host"].entries != {}


def test_a_wrong_hostlist_is_named() -> None:
    context = make_context(power_off=True)
    compute = context.phase_input.spec.compute.model_copy(update={"hosts": "oxygen["})
    spec = context.phase_input.spec.model_copy(update={"compute": compute})
    context.phase_input = context.phase_input.model_copy(update={"spec": spec})
    with pytest.raises(Invalid, match=r"spec\.compute\.hosts"):
        run(context)
