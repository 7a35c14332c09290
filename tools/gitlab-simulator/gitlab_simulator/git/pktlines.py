"""What a push asks for, read before git does it. Pure.

Source: https://git-scm.com/docs/gitprotocol-pack, https://git-scm.com/docs/gitprotocol-common (pkt-line)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A ref, given by its full name, is made to point elsewhere; zeros stand for nothing."""

    old: str
    new: str
    ref: str


@dataclass(frozen=True)
class PushRequest:
    commands: tuple[Command, ...]
    options: tuple[str, ...]


def parse_push(body: bytes) -> PushRequest:
    """Read the commands and the push options at the beginning of a ``git-receive-pack`` request.

    Raises ValueError: it is no such request.
    """
    lines = _read_lines(body)
    commands, capabilities = [], ""
    for line in lines:
        if line is None:
            break
        text, _, said = line.partition(b"\0")
        capabilities = capabilities or said.decode()
        if text.startswith(b"shallow "):
            continue
        old, new, ref = text.decode("utf-8", "replace").rstrip("\n").split(" ", 2)
        commands.append(Command(old, new, ref))
    options = []
    if "push-options" in capabilities.split():
        for line in lines:
            if line is None:
                break
            options.append(line.decode("utf-8", "replace").rstrip("\n"))
    return PushRequest(tuple(commands), tuple(options))


def _read_lines(body: bytes) -> Iterator[bytes | None]:
    """The pkt-lines; None for a flush. What comes after the last one that is asked for is not looked at."""
    at = 0
    while at < len(body):
        size = int(body[at : at + 4], 16)
        if size == 0:
            yield None
            at += 4
        elif 4 <= size <= len(body) - at:
            yield body[at + 4 : at + size]
            at += size
        else:
            raise ValueError("a line is longer than the request")
