"""Every power control behaves alike: the fake, and a real powermand with a power strip."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bessemer.machines.clock import SystemClock
from bessemer.machines.power.patient import PatientPower
from bessemer.machines.power.powerman import Powerman
from bessemer.machines.power.protocol import Power, PowerControlUnreachable, PowerState, UnknownToPowerControl
from tests.contract.machines.daemons import PowerStrip, find_free_port, run_power_strip, run_powermand
from tests.fakes.power import FakePower


@dataclass(frozen=True)
class Setup:
    """A power control for nodes n0 to n15, all off."""

    power: Power
    break_it: Callable[[], None]
    """Makes it unreachable."""


@pytest.fixture(params=["fake", "powerman"])
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setup]:
    if request.param == "fake":
        fake = FakePower([f"n{number}" for number in range(16)])
        yield Setup(fake, lambda: setattr(fake, "unreachable", True))
        return
    with contextlib.ExitStack() as stack:
        strip = stack.enter_context(run_power_strip())
        daemon = contextlib.ExitStack()
        stack.enter_context(daemon)
        port = daemon.enter_context(run_powermand(tmp_path, strip.server_address[1]))
        yield Setup(Powerman("127.0.0.1", port, deadline_seconds=15), daemon.close)


def test_switching_is_read_back_for_just_the_nodes_named(setup: Setup) -> None:
    power = setup.power
    assert set(power.state(["n0", "n1", "n2"]).values()) == {PowerState.OFF}
    assert power.on(["n0", "n2"]) == {}
    assert power.state(["n0", "n1", "n2"]) == {"n0": PowerState.ON, "n1": PowerState.OFF, "n2": PowerState.ON}
    assert power.off(["n2"]) == {}
    assert power.state(["n0", "n2"]) == {"n0": PowerState.ON, "n2": PowerState.OFF}


def test_switching_twice_does_no_harm(setup: Setup) -> None:
    for _ in range(2):
        assert setup.power.on(["n3"]) == {}
    assert setup.power.state(["n3"]) == {"n3": PowerState.ON}


def test_a_cycle_ends_with_power(setup: Setup) -> None:
    setup.power.on(["n4"])
    assert setup.power.cycle(["n4"]) == {}
    assert setup.power.state(["n4"]) == {"n4": PowerState.ON}


def test_unknown_nodes_are_named_and_nothing_is_switched(setup: Setup) -> None:
    with pytest.raises(UnknownToPowerControl) as caught:
        setup.power.on(["n5", "n77", "n78"])
    assert caught.value.nodes == {"n77", "n78"}
    assert "n[77-78]" in caught.value.message
    assert setup.power.state(["n5"]) == {"n5": PowerState.OFF}


def test_no_nodes_is_no_command(setup: Setup) -> None:
    setup.break_it()
    assert setup.power.on([]) == {}
    assert setup.power.state([]) == {}


def test_a_missing_control_server_is_a_separate_error(setup: Setup) -> None:
    setup.break_it()
    with pytest.raises(PowerControlUnreachable):
        setup.power.state(["n0"])


def test_a_dead_device_is_a_complaint_about_its_nodes_and_an_unknown_state(tmp_path: Path) -> None:
    with run_powermand(tmp_path, find_free_port()) as port:
        power = Powerman("127.0.0.1", port, deadline_seconds=30)
        complaints = power.on(["n0", "n1"])
        assert set(complaints) == {"n0", "n1"}
        assert "d0" in complaints["n0"]
        assert power.state(["n0", "n1"]) == {"n0": PowerState.UNKNOWN, "n1": PowerState.UNKNOWN}


def test_a_call_ends_at_its_deadline(tmp_path: Path) -> None:
    with run_power_strip() as strip, run_powermand(tmp_path, strip.server_address[1]) as port:
        strip.deaf = True
        started = time.monotonic()
        with pytest.raises(PowerControlUnreachable, match="no answer within 1 s"):
            Powerman("127.0.0.1", port, deadline_seconds=1).state(["n0"])
        assert time.monotonic() - started < 3


@pytest.fixture
def strips() -> Iterator[tuple[PowerStrip, PowerStrip]]:
    """A strip with n0 to n15, and one with n16 to n31 that takes connections and never answers."""
    with run_power_strip() as well, run_power_strip() as deaf:
        deaf.deaf = True
        yield well, deaf


Strips = tuple[PowerStrip, PowerStrip]
WELL = [f"n{number}" for number in range(4)]


@pytest.mark.parametrize(("device_timeout", "deadline"), [(6.0, 20.0), (60.0, 2.0)], ids=["told", "no answer"])
def test_one_deaf_controller_is_not_known_and_holds_up_no_other(
    strips: Strips, tmp_path: Path, device_timeout: float, deadline: float
) -> None:
    ports = [strip.server_address[1] for strip in strips]
    with run_powermand(tmp_path, *ports, device_timeout=device_timeout) as port:
        power = PatientPower(Powerman("127.0.0.1", port, deadline), SystemClock())
        assert power.state([*WELL, "n16"]) == dict.fromkeys(WELL, PowerState.OFF) | {"n16": PowerState.UNKNOWN}
        started = time.monotonic()
        assert list(power.on([*WELL, "n16"])) == ["n16"]
        assert power.state([*WELL, "n16"]) == dict.fromkeys(WELL, PowerState.ON) | {"n16": PowerState.UNKNOWN}
        assert time.monotonic() - started < 2, "it is remembered"
        assert list(power.explain([*WELL, "n16"])) == ["n16"]


def test_a_complaint_about_a_device_is_about_its_nodes_alone(strips: Strips, tmp_path: Path) -> None:
    with run_powermand(tmp_path, *[strip.server_address[1] for strip in strips], device_timeout=1.0) as port:
        complaints = Powerman("127.0.0.1", port, deadline_seconds=15).on(["n0", "n16"])
    assert list(complaints) == ["n16"]
    assert "d1" in complaints["n16"]


def test_a_powermand_whose_controllers_are_all_deaf_is_what_does_not_answer(strips: Strips, tmp_path: Path) -> None:
    strips[0].deaf = True
    with run_powermand(tmp_path, *[strip.server_address[1] for strip in strips], device_timeout=60.0) as port:
        started = time.monotonic()
        with pytest.raises(PowerControlUnreachable, match="no answer within 1 s"):
            PatientPower(Powerman("127.0.0.1", port, 1), SystemClock()).state([f"n{number}" for number in range(32)])
        assert time.monotonic() - started < 10
