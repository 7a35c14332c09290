"""The interface of power control: four operations, each for many nodes at once.

What a driver answers to ``on`` or ``off`` is a promise, not a fact: callers read ``state`` back until it is as wanted.
All verbs may be repeated without harm, but for ``cycle``, which cuts power each time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Protocol

from bessemer.errors import Invalid, Retry


class PowerState(StrEnum):
    """What power control says of one node."""

    ON = "On"
    OFF = "Off"
    UNKNOWN = "Unknown"


class PowerControlUnreachable(Retry):
    """Power control didn't answer in time, or broke off."""

    def __init__(self, message: str) -> None:
        super().__init__("PowerControlUnreachable", message)


class PowerControlRefused(Retry):
    """Power control answered, but refused or didn't understand a command."""

    def __init__(self, message: str) -> None:
        super().__init__("PowerControlRefused", message)


class UnknownToPowerControl(Invalid):
    """Power control doesn't know some of the nodes; nothing was done to the others either."""

    def __init__(self, nodes: frozenset[str], message: str) -> None:
        super().__init__("UnknownToPowerControl", message)
        self.nodes = nodes
        """The nodes that it doesn't know."""


class Power(Protocol):
    """Switches nodes. Each call ends within the driver's deadline.

    Raises (all verbs):
        PowerControlUnreachable: no answer within the deadline.
        PowerControlRefused: an answer that makes no sense of the command.
        UnknownToPowerControl: names the nodes that it doesn't know.
    """

    def on(self, nodes: Collection[str]) -> Mapping[str, str]:
        """Switch nodes on; returns what power control complains of, by node (empty: nothing)."""
        ...

    def off(self, nodes: Collection[str]) -> Mapping[str, str]:
        """Switch nodes off at once, without a shutdown; returns complaints by node."""
        ...

    def cycle(self, nodes: Collection[str]) -> Mapping[str, str]:
        """Switch nodes off and on again; returns complaints by node."""
        ...

    def state(self, nodes: Collection[str]) -> Mapping[str, PowerState]:
        """Read the state of each of the nodes back; a node whose device doesn't answer is UNKNOWN."""
        ...
