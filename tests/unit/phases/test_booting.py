"""BootManagement and BootCompute as wholes, with fakes behind the clients and virtual time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from bessemer.api.phase_contract import NodeGroup, NodeState, PhaseInput, PhaseName, PhaseResult
from bessemer.errors import Invalid, Retry
from bessemer.machines.clock import Terminated
from bessemer.machines.hostlists import parse_hostlist
from bessemer.machines.power.protocol import PowerControlUnreachable, PowerState
from bessemer.phases import boot_compute, boot_management
from tests.fakes.netboot import FakeBootServer
from tests.fakes.ssh import FakeSshMachine
from tests.unit.phases.builders import SECRETS, FakeContext, build_input, build_spec
from tests.unit.phases.rack import FakeRack

FAULTS = ["NeverPoweredOn", "NeverNetbooted", "InstallStalled", "InstallFailed", "NeverReachable", "HostKeyMismatch"]


def make_compute_rack(nodes: int, **changes: Any) -> tuple[FakeContext, FakeRack]:
    """A BootCompute attempt; the management node is up, the others are off."""
    phase_input = build_input(PhaseName.BOOT_COMPUTE, build_spec(nodes, **changes))
    hosts = parse_hostlist(phase_input.spec.compute.hosts)
    context = FakeContext(phase_input, list(hosts))
    rack = FakeRack(context, "oxygen1")
    context.fake_ssh.machines["oxygen1"] = FakeSshMachine(SECRETS.host_key("oxygen1").public)
    for host in hosts:
        rack.add(host)
    rack.start()
    return context, rack


def run_compute(context: FakeContext, **changes: object) -> PhaseResult:
    return boot_compute.run(PhaseInput.model_validate(context.phase_input.model_dump() | changes), context)


def states_of(result: PhaseResult) -> dict[str, tuple[NodeState, str | None]]:
    return {host: (group.state, group.reason) for group in result.nodes for host in parse_hostlist(group.hosts)}


def offs_of(context: FakeContext) -> list[str]:
    return [host for verb, hosts in context.fake_power.commands if verb == "off" for host in parse_hostlist(hosts)]


def test_all_nodes_are_installed_by_one_command_for_all() -> None:
    context, _ = make_compute_rack(4)
    result = run_compute(context)
    assert (result.succeeded, result.reason) == (True, "Succeeded")
    assert [(group.hosts, group.state, group.attempt) for group in result.nodes] == [
        ("oxygen[2-5]", NodeState.INSTALLED, 1)
    ]
    assert context.fake_power.commands == [("off", "oxygen[2-5]"), ("on", "oxygen[2-5]")]


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_ends_in_its_own_reason_and_harms_no_other_node(fault: str) -> None:
    context, rack = make_compute_rack(4)
    rack.add("oxygen3", fault)
    result = run_compute(context)
    assert (result.succeeded, result.reason, result.retryable) == (False, "TooFewNodes", True)
    assert states_of(result) == {
        "oxygen2": (NodeState.INSTALLED, None),
        "oxygen3": (NodeState.FAILED, fault),
        "oxygen4": (NodeState.INSTALLED, None),
        "oxygen5": (NodeState.INSTALLED, None),
    }
    assert f"{fault}: oxygen3" in result.message
    assert rack.machines["oxygen3"].boots == (0 if fault == "NeverPoweredOn" else 2)
    assert "oxygen3" not in context.boot_servers["oxygen1"].entries


@pytest.mark.parametrize("fault", FAULTS[1:])
def test_a_node_that_works_after_a_power_cycle_is_installed_at_the_second_attempt(fault: str) -> None:
    context, rack = make_compute_rack(2)
    rack.add("oxygen3", fault, heals_after=1)
    result = run_compute(context)
    assert result.succeeded
    assert [(group.hosts, group.attempt) for group in result.nodes] == [("oxygen2", 1), ("oxygen3", 2)]


def test_the_installers_words_and_both_fingerprints_reach_the_result() -> None:
    context, rack = make_compute_rack(2)
    rack.add("oxygen2", "InstallFailed")
    rack.add("oxygen3", "HostKeyMismatch")
    messages = [group.message or "" for group in run_compute(context).nodes]
    assert "error: no disk" in messages[0]
    assert messages[1].count("SHA256:") == 2


def test_two_bad_nodes_of_eight_are_named_where_six_are_enough() -> None:
    spec = build_spec(8).model_dump(by_alias=True)["compute"]
    context, rack = make_compute_rack(8, compute={**spec, "minReady": "75%"})
    rack.add("oxygen3", "NeverNetbooted")
    rack.add("oxygen9", "NeverNetbooted")
    result = run_compute(context)
    assert result.succeeded
    assert "6 of 8 nodes installed; NeverNetbooted: oxygen[3,9]" in result.message


def test_never_more_than_max_concurrent_are_under_way() -> None:
    spec = build_spec(20).model_dump(by_alias=True)["compute"]
    context, rack = make_compute_rack(20, compute={**spec, "maxConcurrent": 3})
    assert run_compute(context).succeeded
    assert 0 < rack.most_at_once <= 3


def test_a_second_attempt_of_the_phase_adopts_what_is_installed() -> None:
    context, rack = make_compute_rack(4)
    rack.add("oxygen3", "NeverNetbooted", heals_after=2)
    assert not run_compute(context).succeeded
    context.fake_power.commands.clear()
    result = run_compute(context, attempt=2)
    assert result.succeeded
    assert set(offs_of(context)) == {"oxygen3"}


def test_what_was_installed_from_another_image_is_installed_again() -> None:
    context, _ = make_compute_rack(2)
    assert run_compute(context).succeeded
    context.fake_power.commands.clear()
    spec = context.phase_input.spec.model_dump()
    spec["compute"]["install"]["image"] = "http://10.77.0.1/newer.tar.gz"
    assert run_compute(context, attempt=2, spec=spec).succeeded
    assert set(offs_of(context)) == {"oxygen2", "oxygen3"}


def test_a_finished_node_that_lost_its_system_is_installed_again() -> None:
    context, rack = make_compute_rack(2)
    assert run_compute(context).succeeded
    context.fake_ssh.machines.pop("oxygen3")
    rack.machines["oxygen3"].step = "hangs"
    context.fake_power.commands.clear()
    result = run_compute(context, attempt=2)
    assert result.succeeded
    assert set(offs_of(context)) == {"oxygen3"}


def test_nodes_that_were_ready_before_are_looked_at_but_never_reinstalled() -> None:
    context, rack = make_compute_rack(3)
    context.fake_power.states["oxygen2"] = PowerState.ON
    rack.machines["oxygen2"].step = "running"
    context.fake_ssh.machines["oxygen2"] = FakeSshMachine(SECRETS.host_key("oxygen2").public)
    before = [NodeGroup(hosts="oxygen[2-3]", state=NodeState.READY)]
    result = run_compute(context, nodes=before)
    assert states_of(result) == {
        "oxygen2": (NodeState.INSTALLED, None),
        "oxygen3": (NodeState.FAILED, "NeverReachable"),
        "oxygen4": (NodeState.INSTALLED, None),
    }
    assert set(offs_of(context)) == {"oxygen4"}


def test_what_dhcp_said_of_a_silent_node_is_told_and_that_it_cannot_be_told_is_no_failure() -> None:
    context, rack = make_compute_rack(3)
    for host in ("oxygen2", "oxygen3"):
        rack.add(host, "NeverNetbooted")
    server = context.boot_servers["oxygen1"] = FakeBootServer()
    server.silences = {"52:54:00:8d:00:02": "DHCP refused it: 10.141.0.2 is leased to 52:54:00:8d:00:09"}
    messages = {group.hosts: group.message for group in run_compute(context).nodes}
    assert messages["oxygen2"] == (
        "didn't ask for its boot script within 300 s (DHCP refused it: 10.141.0.2 is leased to 52:54:00:8d:00:09)"
    )
    assert messages["oxygen3"] == "didn't ask for its boot script within 300 s"


STATELESS = {"method": "Stateless", "image": "http://10.77.0.1/c.squashfs", "kernel": "http://10.77.0.1/vmlinuz"}


def test_stateless_nodes_keep_an_entry_for_their_next_boot() -> None:
    compute = build_spec(2).model_dump(by_alias=True)["compute"]
    context, _ = make_compute_rack(2, compute={**compute, "install": STATELESS})
    assert run_compute(context).succeeded
    assert context.boot_servers["oxygen1"].wanted == {"oxygen2", "oxygen3"}


def test_stateless_nodes_that_run_are_staged_again_without_a_power_cycle() -> None:
    compute = build_spec(2).model_dump(by_alias=True)["compute"]
    context, _ = make_compute_rack(2, compute={**compute, "install": STATELESS})
    assert run_compute(context).succeeded
    context.boot_servers["oxygen1"].withdraw("uid-1")
    context.fake_power.commands.clear()
    result = run_compute(context, attempt=2, nodes=[NodeGroup(hosts="oxygen[2-3]", state=NodeState.CONFIGURED)])
    assert result.succeeded
    assert offs_of(context) == []
    assert context.boot_servers["oxygen1"].wanted == {"oxygen2", "oxygen3"}


def test_a_power_control_that_is_away_for_a_while_only_delays() -> None:
    context, _ = make_compute_rack(2)
    context.fake_power.unreachable = True
    back_at = context.clock.now() + 30

    def come_back() -> None:
        context.fake_power.unreachable = context.clock.now() < back_at

    context.virtual_clock.hooks.append(come_back)
    result = run_compute(context)
    assert result.succeeded
    assert context.clock.now() > back_at


class DeafController:
    """A controller that is deaf: each command that includes its node takes as long as powermand waits for it."""

    def __init__(self, context: FakeContext, host: str, seconds: float, answers: bool) -> None:
        self.power, self.host, self.seconds, self.answers = context.fake_power, host, seconds, answers
        self.sleep = context.clock.sleep

    def on(self, nodes: Collection[str]) -> Mapping[str, str]:
        return self._wait(nodes) or self.power.on(nodes)

    def off(self, nodes: Collection[str]) -> Mapping[str, str]:
        return self._wait(nodes) or self.power.off(nodes)

    def cycle(self, nodes: Collection[str]) -> Mapping[str, str]:
        return self._wait(nodes) or self.power.cycle(nodes)

    def state(self, nodes: Collection[str]) -> Mapping[str, PowerState]:
        self._wait(nodes)
        return self.power.state(nodes)

    def _wait(self, nodes: Collection[str]) -> dict[str, str]:
        if self.host in nodes:
            self.sleep(self.seconds)
            if not self.answers:
                raise PowerControlUnreachable(f"no answer within {self.seconds:g} s")
        return {}


@pytest.mark.parametrize("answers", [True, False], ids=["powermand says so", "no answer"])
@pytest.mark.parametrize("at_once", [4, 2])
def test_of_nodes_with_one_deaf_controller_that_one_alone_fails(answers: bool, at_once: int) -> None:
    spec = build_spec(4).model_dump(by_alias=True)["compute"]
    context, _ = make_compute_rack(4, compute={**spec, "minReady": "75%", "maxConcurrent": at_once})
    context.fake_power.dead = {"oxygen3"}
    context.__dict__["power"] = DeafController(context, "oxygen3", 60, answers)
    started = context.clock.now()
    result = run_compute(context)
    assert result.succeeded
    assert {host: reason for host, (_, reason) in states_of(result).items() if reason} == {"oxygen3": "NeverPoweredOn"}
    (failed,) = [group for group in result.nodes if group.reason]
    assert "within 60 s" in (failed.message or "")
    assert context.clock.now() - started < 300, "the others wait for it once"


def test_a_power_control_that_stays_away_is_named_in_each_nodes_reason() -> None:
    context, _ = make_compute_rack(2)
    context.fake_power.unreachable = True
    result = run_compute(context)
    assert [(group.hosts, group.reason) for group in result.nodes] == [("oxygen[2-3]", "NeverPoweredOn")]
    assert "power control is made unreachable" in (result.nodes[0].message or "")


def break_server(context: FakeContext, seconds: float) -> None:
    """The boot server fails from 5 s on, for so long."""
    start = context.clock.now() + 5

    def hook() -> None:
        context.boot_servers["oxygen1"].broken = start <= context.clock.now() < start + seconds

    context.virtual_clock.hooks.append(hook)


def test_a_boot_server_that_is_away_for_a_while_only_delays() -> None:
    context, _ = make_compute_rack(2)
    break_server(context, 60)
    assert run_compute(context).succeeded


def test_a_boot_server_that_stays_away_ends_the_attempt_for_another_one() -> None:
    context, rack = make_compute_rack(2)
    rack.add("oxygen3", "InstallStalled")
    break_server(context, 10_000)
    with pytest.raises(Retry) as caught:
        run_compute(context)
    assert caught.value.reason == "BootServerUnreachable"


def test_being_stopped_ends_the_phase_at_once() -> None:
    context, _ = make_compute_rack(2)

    def stop() -> None:
        raise Terminated

    context.virtual_clock.hooks.append(stop)
    with pytest.raises(Terminated):
        run_compute(context)


def make_management_rack(**changes: Any) -> tuple[FakeContext, FakeRack]:
    context = FakeContext(build_input(PhaseName.BOOT_MANAGEMENT, build_spec(**changes)), ["oxygen1"])
    rack = FakeRack(context, "boot-host")
    rack.add("oxygen1")
    rack.start()
    return context, rack


def test_the_management_node_is_installed_from_the_boot_host() -> None:
    context, _ = make_management_rack()
    result = boot_management.run(context.phase_input, context)
    assert (result.succeeded, result.nodes) == (True, [])
    entry = context.boot_servers["boot-host"].entries["oxygen1"]
    assert entry["script"] == "/srv/http/boot/52-54-00-77-00-01.ipxe"
    assert entry["initrds"] == ["/fake/installer.cpio.gz"]


def test_the_phase_fails_with_the_reason_of_the_management_node() -> None:
    context, rack = make_management_rack()
    rack.add("oxygen1", "InstallStalled")
    result = boot_management.run(context.phase_input, context)
    assert (result.succeeded, result.reason, result.retryable) == (False, "InstallStalled", True)
    assert result.message.startswith("oxygen1: ")


def test_a_given_management_node_is_left_alone() -> None:
    spec = build_spec().model_dump(by_alias=True)["management"]
    context, _ = make_management_rack(management={**spec, "provision": False})
    assert boot_management.run(context.phase_input, context).succeeded
    assert context.fake_power.commands == []
    assert context.fake_power.states == {"oxygen1": PowerState.OFF}


def test_a_spec_that_does_not_fit_together_is_invalid() -> None:
    context, _ = make_compute_rack(2)
    spec = context.phase_input.spec.model_dump()
    spec["compute"]["addresses"] = "10.141.0.[2-9]"
    with pytest.raises(Invalid) as caught:
        run_compute(context, spec=spec)
    assert caught.value.reason == "LengthMismatch"
