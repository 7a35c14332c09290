"""One silent node holds up no other: it alone is not known, and it is left out for a while."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.machines.power.patient import AT_ONCE, SILENT_SECONDS, PatientPower
from bessemer.machines.power.protocol import PowerControlUnreachable, PowerState, UnknownToPowerControl
from tests.fakes.power import FakePower
from tests.unit.phases.cluster_fakes import VirtualClock

NODES = [f"n{number}" for number in range(40)]


class SlowPower(FakePower):
    """Powermand itself notices a deaf device after a minute, and answers for all nodes then."""

    def __init__(self, nodes: Collection[str], deaf: Collection[str], clock: VirtualClock) -> None:
        super().__init__(nodes)
        self.deaf, self.clock = set(deaf), clock
        self.asked: list[set[str]] = []

    def state(self, nodes: Collection[str]) -> dict[str, PowerState]:
        self.asked.append(set(nodes))
        if self.deaf & set(nodes):
            self.clock.sleep(60)
        self.dead = self.deaf
        return super().state(nodes)


def make_patient(power: FakePower) -> tuple[PatientPower, VirtualClock]:
    clock = VirtualClock()
    return PatientPower(power, clock), clock


def test_after_a_timeout_each_is_asked_for_and_the_silent_one_alone_is_not_known() -> None:
    power = FakePower(NODES)
    power.silent = {"n7"}
    patient, _ = make_patient(power)
    assert patient.state(NODES) == dict.fromkeys(NODES, PowerState.OFF) | {"n7": PowerState.UNKNOWN}
    assert patient.explain(NODES) == {"n7": "power control: no answer within 120 s"}


def test_switching_reaches_all_but_the_silent_ones_who_have_a_complaint_each() -> None:
    power = FakePower(NODES)
    power.silent = {"n7", "n8"}
    patient, _ = make_patient(power)
    assert set(patient.on(NODES)) == {"n7", "n8"}
    assert {node for node, state in power.states.items() if state is PowerState.ON} == set(NODES) - {"n7", "n8"}
    power.commands.clear()
    assert set(patient.off(NODES)) == {"n7", "n8"}
    assert power.commands == [("off", "n[0-6,9-39]")], "one command again, without those that are silent"


def test_a_node_for_which_powermand_waits_is_left_out_of_later_commands() -> None:
    clock = VirtualClock()
    power = SlowPower(NODES, ["n3"], clock)
    patient = PatientPower(power, clock)
    for _ in range(5):
        assert patient.state(NODES) == dict.fromkeys(NODES, PowerState.OFF) | {"n3": PowerState.UNKNOWN}
    assert clock.now() == 60
    assert patient.explain(["n3", "n4"]) == {"n3": "power control did not learn its state within 60 s"}
    clock.sleep(SILENT_SECONDS)
    power.deaf = set()
    assert set(patient.state(NODES).values()) == {PowerState.OFF}, "it is asked for again after a while"


def test_a_single_machine_is_asked_for_again_and_again() -> None:
    clock = VirtualClock()
    power = SlowPower(["n3"], ["n3"], clock)
    patient = PatientPower(power, clock)
    assert patient.state(["n3"]) == {"n3": PowerState.UNKNOWN}
    power.deaf = set()
    assert patient.state(["n3"]) == {"n3": PowerState.OFF}


def test_a_state_that_is_unknown_at_once_is_asked_for_again_at_once() -> None:
    power = FakePower(NODES)
    power.dead = {"n1"}
    patient, _ = make_patient(power)
    assert patient.state(["n1", "n2"])["n1"] is PowerState.UNKNOWN
    power.dead = set()
    assert patient.state(["n1", "n2"])["n1"] is PowerState.OFF


@pytest.mark.parametrize("nodes", [NODES, ["n1"]])
def test_a_power_control_that_answers_for_none_is_what_does_not_answer(nodes: list[str]) -> None:
    power = FakePower(NODES)
    power.unreachable = True
    patient, _ = make_patient(power)
    for call in (patient.state, patient.on):
        with pytest.raises(PowerControlUnreachable):
            call(nodes)
    assert patient.explain(nodes) == {}
    power.unreachable = False
    assert set(patient.state(nodes).values()) == {PowerState.OFF}


def test_a_power_control_that_is_dead_is_not_asked_for_a_thousand_nodes() -> None:
    class Dead(FakePower):
        calls = 0

        def state(self, nodes: Collection[str]) -> dict[str, PowerState]:  # noqa: ARG002
            self.calls += 1
            raise PowerControlUnreachable("no answer within 120 s")

    power = Dead([])
    patient, _ = make_patient(power)
    with pytest.raises(PowerControlUnreachable):
        patient.state([f"n{number}" for number in range(1024)])
    assert power.calls <= 33


def test_nodes_that_power_control_does_not_know_are_told() -> None:
    patient, _ = make_patient(FakePower(NODES))
    with pytest.raises(UnknownToPowerControl):
        patient.state(["n1", "n99"])


@given(st.sets(st.sampled_from(NODES)), st.sets(st.sampled_from(NODES), min_size=1))
def test_no_state_says_more_than_was_read(silent: set[str], asked: set[str]) -> None:
    power = FakePower(NODES)
    power.on(NODES[::2])
    power.silent = silent
    patient, _ = make_patient(power)
    try:
        states: Mapping[str, PowerState] = patient.state(asked)
    except PowerControlUnreachable:
        sample = len(asked) if len(asked) <= AT_ONCE else len(asked) / 2
        assert len(silent & asked) >= sample, "so many are asked for before power control itself counts as silent"
        return
    expected = {node: PowerState.UNKNOWN if node in silent else power.states[node] for node in asked}
    assert states == expected
