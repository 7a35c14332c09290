"""Power control by powermand, over its TCP protocol.

Lines end in CRLF and each reply in a prompt. A reply's last numbered line says how the command ended: 1xx success,
2xx error; 3xx lines before it carry the data. One command at a time on a connection; each call makes its own, so that a
connection that powermand or a firewall dropped costs nothing.
Source: https://github.com/chaos/powerman/blob/master/src/powerman/client_proto.h
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Collection, Mapping

from bessemer.foreign import make_line
from bessemer.machines.hostlists import MAX_ANSWERED, build_powerman_hostlists, parse_hostlist
from bessemer.machines.power.protocol import (
    PowerControlRefused,
    PowerControlUnreachable,
    PowerState,
    UnknownToPowerControl,
)

PROMPT = b"powerman> "
REPLY_LIMIT = 1 << 20
"""Bytes; far more than states and errors of some thousand nodes need."""

SUCCESS = {101, 102, 103}
NO_SUCH_NODES = 209
COMMAND_IN_PROGRESS = 208
COMPLETED_WITH_ERRORS = 210
QUERIED_WITH_ERRORS = 211
PLUG_STATES = 302
ACTION_ERROR = 308
DIAGNOSTIC = 309
DEVICE = 304
MOST_LINES = 4096
"""Numbered lines of one reply; ``status`` has three and one for each error."""
MOST_STATE_LINES = 64
MOST_CHARACTERS = 1 << 18
"""Of one line: the names of as many nodes as a build may have, unfolded."""

_NUMBERED = re.compile(r"([0-9]{3}) (.*)")
_DEVICE = re.compile(r"(?P<name>[^:\s]+): .*\bhosts=(?P<hosts>\S*)")
"""Such as ``d1: state=connected reconnects=000 actions=007 type=vpc hosts=n[16-31]``."""
_STATES = {"on": PowerState.ON, "off": PowerState.OFF, "unknown": PowerState.UNKNOWN}


class Powerman:
    """A powermand at a TCP address."""

    def __init__(self, address: str, port: int = 10101, deadline_seconds: float = 120) -> None:
        self._address = address
        self._port = port
        self._deadline_seconds = deadline_seconds

    def on(self, nodes: Collection[str]) -> Mapping[str, str]:
        """Switch nodes on; see Power."""
        return self._switch("on", nodes)

    def off(self, nodes: Collection[str]) -> Mapping[str, str]:
        """Switch nodes off; see Power."""
        return self._switch("off", nodes)

    def cycle(self, nodes: Collection[str]) -> Mapping[str, str]:
        """Switch nodes off and on; see Power."""
        return self._switch("cycle", nodes)

    def state(self, nodes: Collection[str]) -> Mapping[str, PowerState]:
        """Read states back; see Power."""
        states = dict.fromkeys(nodes, PowerState.UNKNOWN)
        for part in build_powerman_hostlists(nodes):
            reply = self._command(f"status {part}")
            states.update((node, state) for node, state in parse_states(reply).items() if node in states)
        return states

    def _switch(self, verb: str, nodes: Collection[str]) -> dict[str, str]:
        complaints: dict[str, str] = {}
        for part in build_powerman_hostlists(nodes):
            reply = self._command(f"{verb} {part}")
            asked = parse_hostlist(part, MAX_ANSWERED)
            failed = bool(reply) and reply[-1][0] == COMPLETED_WITH_ERRORS
            devices = parse_devices(self._command(f"device {part}")) if failed else {}
            complaints |= parse_complaints(reply, asked, devices)
        return complaints

    def _command(self, command: str) -> list[tuple[int, str]]:
        """Return the numbered lines of the reply to a command, the last of which says how it ended."""
        where = f"powermand at {self._address}:{self._port}"
        deadline = time.monotonic() + self._deadline_seconds
        try:
            reply = self._exchange(command, deadline)
        except TimeoutError as error:
            raise PowerControlUnreachable(f"{where}: no answer within {self._deadline_seconds:g} s") from error
        except (OSError, EOFError) as error:
            raise PowerControlUnreachable(f"{where}: {error or type(error).__name__}") from error
        lines = parse_reply(reply)
        code, text = lines[-1] if lines else (0, reply[-200:])
        said = make_line(text, 200)
        if code == NO_SUCH_NODES:
            hostlist = text.partition(":")[2].strip()
            known = make_line(hostlist) or "some of the nodes"
            raise UnknownToPowerControl(frozenset(_read_nodes(hostlist)), f"{where} doesn't know {known}")
        if code == COMMAND_IN_PROGRESS:
            raise PowerControlRefused(f"{where} is busy with another command: {said}")
        if code not in SUCCESS | {COMPLETED_WITH_ERRORS, QUERIED_WITH_ERRORS}:
            raise PowerControlRefused(f"{where} answered {code or 'without a code'}: {said}")
        return lines

    def _exchange(self, command: str, deadline: float) -> str:
        with socket.create_connection((self._address, self._port), self._deadline_seconds) as connection:
            _read_until_prompt(connection, deadline)
            connection.sendall(command.encode() + b"\r\n")
            reply = _read_until_prompt(connection, deadline)
            connection.sendall(b"quit\r\n")
            return reply


def parse_reply(reply: str) -> list[tuple[int, str]]:
    """Split a reply into its numbered lines, without the prompt, each printable and of bounded length."""
    matches = (_NUMBERED.fullmatch(line.strip()) for line in reply.split("\n", MOST_LINES))
    return [(int(match[1]), make_line(match[2], MOST_CHARACTERS)) for match in matches if match]


def parse_states(lines: list[tuple[int, str]]) -> dict[str, PowerState]:
    """Read the node states out of the reply to ``status``: lines such as ``302 on: n[0-1]``.

    Of a node that stands in several of them, the state is not known.
    """
    states: dict[str, PowerState] = {}
    for text in [text for code, text in lines if code == PLUG_STATES][:MOST_STATE_LINES]:
        label, _, hostlist = text.partition(":")
        for node in _read_nodes(hostlist) if label.strip() in _STATES else ():
            state = _STATES[label.strip()]
            states[node] = state if states.get(node, state) is state else PowerState.UNKNOWN
    return states


def parse_devices(lines: list[tuple[int, str]]) -> dict[str, frozenset[str]]:
    """Read which nodes each device has out of the reply to ``device``."""
    matches = (_DEVICE.match(text) for code, text in lines if code == DEVICE)
    return {match["name"]: frozenset(_read_nodes(match["hosts"])) for match in matches if match}


def parse_complaints(
    lines: list[tuple[int, str]], nodes: Collection[str], devices: Mapping[str, frozenset[str]]
) -> dict[str, str]:
    """Read errors out of the reply to a switching command, by node.

    Newer powermands name the node in front of an error, older ones only the device: then it is about that one's nodes.

    Args:
        lines: the reply.
        nodes: those of the command.
        devices: the nodes of each device.
    """
    if not lines or lines[-1][0] != COMPLETED_WITH_ERRORS:
        return {}
    found: dict[str, dict[str, None]] = {}
    for text in [text for code, text in lines if code in (ACTION_ERROR, DIAGNOSTIC)]:
        name = text.partition(":")[0].strip()
        for node in {name}.intersection(nodes) or devices.get(name, frozenset()).intersection(nodes):
            found.setdefault(node, {})[text] = None
    return {node: make_line("; ".join(texts)) for node, texts in found.items()}


def _read_nodes(hostlist: str) -> tuple[str, ...]:
    """Return the nodes of a hostlist in a reply; none of one that can't be read."""
    try:
        return parse_hostlist(hostlist.strip(), MAX_ANSWERED)
    except ValueError:
        return ()


def _read_until_prompt(connection: socket.socket, deadline: float) -> str:
    received = b""
    while not received.endswith(PROMPT):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        connection.settimeout(remaining)
        part = connection.recv(65536)
        if not part:
            raise EOFError("closed the connection")
        received += part
        if len(received) > REPLY_LIMIT:
            raise EOFError("answered more than is sensible")
    return received.removesuffix(PROMPT).decode(errors="replace")
