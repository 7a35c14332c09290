"""Machines behind a fake SSH client, for tests; behaves like the real one towards its callers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bessemer.machines.machine import SshTarget
from bessemer.machines.ssh import (
    CommandResult,
    HostKeyMismatch,
    JumpUnusable,
    SshFailure,
    SshRefused,
    SshUnreachable,
    build_fingerprint,
)

Command = Callable[[str, bytes], CommandResult]
"""What answers a command line and its standard input."""


def refuse_command(command: str, stdin: bytes) -> CommandResult:
    """Answer like a shell that doesn't find a program."""
    return CommandResult(127, "", f"{command.partition(' ')[0]}: not found")


@dataclass
class FakeSshMachine:
    """One machine, as SSH sees it."""

    host_key: str
    """The public host key that it shows."""
    reachable: bool = True
    takes_our_key: bool = True
    command: Command = refuse_command
    files: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """What was uploaded: path to mode and content."""


class FakeSsh:
    """Machines by the name of their target; a name that isn't there is unreachable."""

    def __init__(self) -> None:
        self.machines: dict[str, FakeSshMachine] = {}

    def probe(self, target: SshTarget, timeout_seconds: float) -> None:  # noqa: ARG002  it never waits
        """Log in; see Ssh."""
        self._machine(target)

    def run(self, target: SshTarget, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> CommandResult:  # noqa: ARG002  it never waits
        """Run a command; see Ssh."""
        return self._machine(target).command(command, stdin)

    def upload(self, target: SshTarget, content: bytes, path: str, mode: int = 0o644) -> None:
        """Keep a file; see Ssh."""
        self._machine(target).files[path] = (mode, content)

    def close(self) -> None:
        """Close nothing; see Ssh."""

    def _machine(self, target: SshTarget) -> FakeSshMachine:
        if target.jump is not None:
            try:
                self._machine(target.jump)
            except SshFailure as error:
                raise JumpUnusable(error) from error
        machine = self.machines.get(target.name)
        if machine is None or not machine.reachable:
            raise SshUnreachable(f"{target.name}: connection refused")
        if machine.host_key != target.host_key:
            shown, expected = build_fingerprint(machine.host_key), build_fingerprint(target.host_key)
            raise HostKeyMismatch(f"{target.name}: its host key is {shown}, it must be {expected}")
        if not machine.takes_our_key:
            raise SshRefused(f"{target.name}: doesn't take our key for user {target.user}")
        return machine
