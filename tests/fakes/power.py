"""A power control in memory, for tests; behaves like the real ones towards its callers."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from bessemer.machines.hostlists import build_hostlist
from bessemer.machines.power.protocol import PowerControlUnreachable, PowerState, UnknownToPowerControl


class FakePower:
    """Nodes that are off until they are switched on.

    Faults are set by attributes: ``dead`` nodes complain and stay as they are, ``silent`` ones have each call for them
    pass its deadline, ``unreachable`` breaks every call.
    """

    def __init__(self, nodes: Iterable[str]) -> None:
        self.states = dict.fromkeys(nodes, PowerState.OFF)
        self.dead: set[str] = set()
        self.silent: set[str] = set()
        self.unreachable = False
        self.commands: list[tuple[str, str]] = []
        """Every switching command as verb and hostlist, in order."""

    def on(self, nodes: Collection[str]) -> dict[str, str]:
        """Switch nodes on; see Power."""
        return self._switch("on", nodes, PowerState.ON)

    def off(self, nodes: Collection[str]) -> dict[str, str]:
        """Switch nodes off; see Power."""
        return self._switch("off", nodes, PowerState.OFF)

    def cycle(self, nodes: Collection[str]) -> dict[str, str]:
        """Switch nodes off and on; see Power."""
        return self._switch("cycle", nodes, PowerState.ON)

    def state(self, nodes: Collection[str]) -> dict[str, PowerState]:
        """Read states back; see Power."""
        self._check(nodes)
        return {node: PowerState.UNKNOWN if node in self.dead else self.states[node] for node in nodes}

    def _switch(self, verb: str, nodes: Collection[str], state: PowerState) -> dict[str, str]:
        self._check(nodes)
        if nodes:
            self.commands.append((verb, build_hostlist(nodes)))
        self.states.update((node, state) for node in nodes if node not in self.dead)
        return {node: "connect timeout" for node in nodes if node in self.dead}

    def _check(self, nodes: Collection[str]) -> None:
        if self.unreachable and nodes:
            raise PowerControlUnreachable("power control is made unreachable")
        if self.silent.intersection(nodes):
            raise PowerControlUnreachable("power control: no answer within 120 s")
        unknown = frozenset(nodes) - self.states.keys()
        if unknown:
            raise UnknownToPowerControl(unknown, f"power control doesn't know {build_hostlist(unknown)}")
