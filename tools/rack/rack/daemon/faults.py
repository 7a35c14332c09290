"""Faults of machines that can be switched on."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """A way in which a machine misbehaves."""

    NEVER_POWERS_ON = "never-powers-on"
    """The outlet stays off, whatever is requested."""
    DEAF_BMC = "deaf-bmc"
    """The machine's power controller accepts connections and commands, but never answers."""
    NEVER_NETBOOTS = "never-netboots"
    """The cable is unplugged while the firmware looks for a boot server, and afterwards."""
    INSTALL_STALLS = "install-stalls"
    """The cable is unplugged in the middle of the install."""
    INSTALL_ERROR = "install-error"
    """The disk is far too small and the kernel lacks the loop driver, so any installer finds an error to report."""
    WRONG_HOST_KEY = "wrong-host-key"
    """Another SSH host key replaces the planted one when the installed system starts."""
    SLOW = "slow"
    """A slow self-test and a slow cable."""
    DIES_ONCE = "dies-once"
    """The power supply trips in the middle of the install: the outlet is on, the machine dead until power-cycled."""


DEFAULT_TIMES: dict[Fault, int | None] = {Fault.DIES_ONCE: 1}
"""How often a fault happens unless told otherwise; None means always."""


class FaultBoard:
    """Which faults are on for which machine, and how often each will still happen."""

    def __init__(self) -> None:
        self._left: dict[tuple[str, Fault], int | None] = {}

    def switch_on(self, machine: str, fault: Fault, times: int | None = None) -> None:
        """Let a fault happen that many times; None means the fault's default."""
        self._left[machine, fault] = DEFAULT_TIMES.get(fault) if times is None else times

    def switch_off(self, machine: str, fault: Fault | None = None) -> None:
        """Switch one fault of a machine off, or all."""
        for key in [key for key in self._left if key[0] == machine and fault in (None, key[1])]:
            del self._left[key]

    def is_on(self, machine: str, fault: Fault) -> bool:
        """Return whether a fault would happen now."""
        return self._left.get((machine, fault), 0) != 0

    def take(self, machine: str, fault: Fault) -> bool:
        """Return whether a fault happens now, and count it."""
        if not self.is_on(machine, fault):
            return False
        left = self._left[machine, fault]
        if left is not None:
            self._left[machine, fault] = left - 1
        return True

    def list_on(self, machine: str) -> dict[str, int | None]:
        """Return a machine's faults with how often each will still happen."""
        return {str(fault): left for (name, fault), left in self._left.items() if name == machine and left != 0}
