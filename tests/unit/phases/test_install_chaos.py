"""Every outside call of the install loop fails, at any moment and in any combination: what is not known switches
nothing off, and no node's state says more than is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.api.phase_contract import NodeState, PhaseInput, PhaseResult
from bessemer.errors import Retry
from bessemer.machines.hostlists import parse_hostlist
from bessemer.machines.netboot.server import BootServerFailed
from bessemer.machines.power.protocol import PowerControlUnreachable
from bessemer.machines.ssh import JumpUnusable, SshUnreachable
from bessemer.phases import boot_compute
from tests.fakes.netboot import FakeBootServer
from tests.support.examples import examples
from tests.unit.phases.builders import FakeContext, build_spec
from tests.unit.phases.rack import FakeRack
from tests.unit.phases.test_booting import STATELESS, make_compute_rack

FAILURES: dict[str, Callable[[], Exception]] = {
    "power": lambda: PowerControlUnreachable("made to fail"),
    "server": lambda: BootServerFailed("made to fail"),
    "jump": lambda: JumpUnusable(SshUnreachable("made to fail")),
}
"""Clients, and how a call of theirs fails."""
LONGEST_SECONDS = 4000.0


@dataclass
class Chaos:
    """Decides of each call whether it fails: before its effect, or after it (the answer is lost)."""

    decide: Callable[[int, str], str | None]
    calls: int = 0
    failed: set[str] = field(default_factory=set)

    def wrap(self, client: str, inner: Any) -> Any:
        return Unsteady(self, client, inner)

    def call(self, client: str, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        number, self.calls = self.calls, self.calls + 1
        how = self.decide(number, client)
        if how:
            self.failed.add(client)
        if how == "before":
            raise FAILURES[client]()
        result = method(*arguments, **named)
        if how == "after":
            raise FAILURES[client]()
        return result


class Unsteady:
    """A client whose calls may fail."""

    def __init__(self, chaos: Chaos, client: str, inner: Any) -> None:
        self._chaos, self._client, self._inner = chaos, client, inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found
        return lambda *arguments, **named: self._chaos.call(self._client, found, *arguments, **named)


@dataclass
class World:
    """A rack on which BootCompute runs several times."""

    context: FakeContext
    rack: FakeRack
    attempt: int = 0
    wronged: list[str] = field(default_factory=list)
    """Machines that were switched off although they were installed and ran."""

    def run(self, chaos: Chaos | None = None) -> PhaseResult:
        self.attempt += 1
        context = self.context
        chaos = chaos or Chaos(lambda *_: None)
        context.__dict__["power"] = chaos.wrap("power", context.fake_power)
        context.__dict__["ssh"] = chaos.wrap("jump", context.fake_ssh)
        server = context.boot_servers.setdefault("oxygen1", FakeBootServer())
        context.__dict__["boot_server"] = lambda _: chaos.wrap("server", server)
        changes = context.phase_input.model_dump() | {"attempt": self.attempt}
        return boot_compute.run(PhaseInput.model_validate(changes), context)

    def note_off(self, hosts: list[str]) -> None:
        self.wronged += [host for host in hosts if self.rack.machines[host].step == "running"]


def make_world(*, stateless: bool = False) -> World:
    changes: dict[str, Any] = {}
    if stateless:
        compute = build_spec(2).model_dump(by_alias=True)["compute"]
        changes["compute"] = {**compute, "install": STATELESS}
    context, rack = make_compute_rack(2, **changes)
    world = World(context, rack)
    off = context.fake_power.off

    def watched_off(nodes: Any) -> dict[str, str]:
        world.note_off(list(nodes))
        return off(nodes)

    context.fake_power.off = watched_off  # type: ignore[method-assign]  # does the same, and is noted
    return world


def run_until_done(world: World, chaos: Chaos) -> PhaseResult:
    """Run the phase with failing calls, then without, as the operator would."""
    try:
        result = world.run(chaos)
        if result.succeeded:
            return result
        check_reasons(result, chaos)
    except Retry:
        pass
    return world.run()


def check_reasons(result: PhaseResult, chaos: Chaos) -> None:
    """All machines are in order: what a node is said to have failed of can only be what was made to fail."""
    for group in result.nodes:
        if group.state is NodeState.FAILED:
            assert (group.reason, "power" in chaos.failed) == ("NeverPoweredOn", True), group
            assert "made to fail" in (group.message or "")


def count_calls(world: World) -> int:
    chaos = Chaos(lambda *_: None)
    assert world.run(chaos).succeeded
    return chaos.calls


@pytest.mark.parametrize("stateless", [False, True])
@pytest.mark.parametrize("how", ["before", "after"])
def test_one_failed_call_at_any_moment_of_an_install_switches_off_nothing_that_runs(how: str, stateless: bool) -> None:
    for failing in range(count_calls(make_world(stateless=stateless)) + 1):
        world = make_world(stateless=stateless)
        chaos = Chaos(lambda number, _, failing=failing: how if number == failing else None)  # type: ignore[misc]  # mypy infers no type of a default
        assert run_until_done(world, chaos).succeeded, failing
        assert world.wronged == [], failing


@pytest.mark.parametrize("stateless", [False, True])
@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("clients", [("server",), ("jump",), ("power",), ("server", "jump", "power")])
def test_clients_that_fail_from_any_call_on_switch_off_nothing_that_is_installed(
    clients: tuple[str, ...], how: str, stateless: bool
) -> None:
    world = make_world(stateless=stateless)
    assert world.run().succeeded
    for first in range(count_calls(world) + 1):
        for last in (first, first + 3, 10**9):
            world.context.fake_power.commands.clear()
            chaos = Chaos(
                lambda number, client, first=first, last=last: (  # type: ignore[misc]  # as above
                    how if first <= number <= last and client in clients else None
                )
            )
            assert run_until_done(world, chaos).succeeded
            assert world.context.fake_power.commands == [], (first, last)


def test_a_journal_that_cannot_be_read_at_the_start_is_not_an_empty_one() -> None:
    world = make_world()
    assert world.run().succeeded
    world.context.fake_power.commands.clear()
    with pytest.raises(Retry) as caught:
        world.run(Chaos(lambda number, client: "before" if client == "server" and number > 0 else None))
    assert caught.value.reason == "BootServerUnreachable"
    assert world.context.fake_power.commands == []


@st.composite
def windows(draw: st.DrawFn) -> list[tuple[str, float, float, str]]:
    client = st.sampled_from(sorted(FAILURES))
    start = st.floats(0, 300)
    window = st.tuples(client, start, st.floats(1, LONGEST_SECONDS), st.sampled_from(["before", "after"]))
    return draw(st.lists(window, min_size=1, max_size=4))


@settings(max_examples=examples(150), deadline=None)
@given(windows(), st.booleans())
def test_outages_of_any_length_in_any_combination(found: list[tuple[str, float, float, str]], stateless: bool) -> None:
    world = make_world(stateless=stateless)
    start = world.context.clock.now()

    def decide(_: int, client: str) -> str | None:
        since = world.context.clock.now() - start
        hits = [how for name, first, seconds, how in found if name == client and first <= since < first + seconds]
        return hits[0] if hits else None

    chaos = Chaos(decide)
    assert run_until_done(world, chaos).succeeded
    assert world.wronged == []
    assert set(parse_hostlist("oxygen[2-3]")) == set(world.rack.machines)
