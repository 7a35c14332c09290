"""The client of boot servers: make a machine install itself at its next network boot, and read its journal.

Staging, withdrawing and preparing may be repeated without harm. What is staged is marked with the build's UID, and
nothing of other builds is ever touched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from bessemer.errors import Retry

BASE_DIRECTORY = "/var/lib/bessemer"
"""Where boot hosts and the management node keep what is staged and served."""

BootEntry = Mapping[str, Any]
"""What is staged for one machine, as bootd takes it; made by netboot.entries. Holds secrets: never log one."""


class BootServerFailed(Retry):
    """The boot server was reached, but couldn't do what it was told."""

    def __init__(self, message: str) -> None:
        super().__init__("BootServerFailed", message)


class BootEventKind(StrEnum):
    """What a boot server may have seen of a machine, as far as it matters to us."""

    STAGED = "staged"
    RESTORED = "restored"
    """Staged for the next boot of a running machine; nothing is restarted."""
    SCRIPT = "script"
    KERNEL = "kernel"
    CONFIG = "config"
    INITRD = "initrd"
    """An initial RAM disk was asked for; the detail says which, such as ``2 of 2``."""
    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    OTHER = "other"


@dataclass(frozen=True)
class BootEvent:
    """One line of a boot server's journal."""

    sequence: int
    """Grows with each event."""
    kind: BootEventKind
    host: str | None
    """None where a refused request couldn't be told to belong to a machine."""
    attempt: str | None
    """Label of the attempt that the entry was staged for."""
    detail: str = field(default="", repr=False)
    """Why a request was refused, or the end of the installer's log."""
    client: str = ""
    """Address that the request came from."""


@dataclass(frozen=True)
class Withdrawn:
    """What was taken back."""

    hosts: tuple[str, ...]
    """Machines that had an entry."""
    left: int
    """Entries that are left, of all builds."""


class BootServer(Protocol):
    """One boot server.

    Raises (all methods): BootServerFailed, or the errors of the SSH client.
    """

    @property
    def installer(self) -> str:
        """Where the installer's initial RAM disk lies on the server, once it is prepared."""
        ...

    def prepare(self) -> None:
        """Ensure that the boot daemon runs and the installer is in place."""
        ...

    def stage(self, entries: Sequence[BootEntry]) -> None:
        """Want an install of these machines at their next network boot; replaces what was staged for them."""
        ...

    def withdraw(
        self, build: str, hosts: Collection[str] | None = None, keep_persistent: Collection[str] = ()
    ) -> Withdrawn:
        """Take back what is staged for a build, or for some of its hosts.

        Args:
            build: UID of the build.
            hosts: which machines; None means all of the build's.
            keep_persistent: hosts that keep an entry which they need at every boot.
        """
        ...

    def list_events(self, build: str, since: int) -> list[BootEvent]:
        """List the journal's events of a build, in order, after sequence number ``since`` (0: all that there are)."""
        ...

    def explain_silence(self, machines: Mapping[str, str], seconds: float) -> dict[str, str]:
        """Return what the server's own DHCP has said of machines that never asked for their boot script.

        Args:
            machines: addresses that DHCP must assign to them, by MAC address in lower case.
            seconds: how far back to look.

        Returns:
            A sentence by MAC address; nothing where DHCP is the site's.
        """
        ...

    def release(self) -> None:
        """Undo ``prepare``, if nothing is staged; a daemon that is part of the site is left alone."""
        ...
