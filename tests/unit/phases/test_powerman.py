"""The powerman client against scripted replies; tests/contract runs it against a real powermand."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.phases.power.powerman import PROMPT, Powerman, parse_complaints, parse_reply, parse_states
from bessemer.phases.power.protocol import (
    PowerControlRefused,
    PowerControlUnreachable,
    PowerState,
    UnknownToPowerControl,
)


@contextmanager
def powermand(replies: dict[str, str], asked: list[str] | None = None) -> Iterator[Powerman]:
    """A server that answers the first word of a command; an empty answer closes the connection."""

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"001 2.3.27\r\n" + PROMPT)
            for line in self.rfile:
                command = line.decode().strip()
                if command == "quit":
                    return
                if asked is not None:
                    asked.append(command)
                reply = replies[command.split()[0]]
                if not reply:
                    return
                self.wfile.write(reply.replace("\n", "\r\n").encode() + PROMPT)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Session) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Powerman("127.0.0.1", server.server_address[1], deadline_seconds=2)
        server.shutdown()


STATES = "302 on:      n[0-1]\n302 off:     n2\n302 unknown: n3\n103 Query complete\n"


def test_states_are_read_and_what_is_not_told_is_unknown() -> None:
    asked: list[str] = []
    with powermand({"status": STATES}, asked) as power:
        assert power.state(["n0", "n1", "n2", "n3", "n4"]) == {
            "n0": PowerState.ON,
            "n1": PowerState.ON,
            "n2": PowerState.OFF,
            "n3": PowerState.UNKNOWN,
            "n4": PowerState.UNKNOWN,
        }
    assert asked == ["status n[0-4]"]


def test_each_verb_is_one_command_for_all_nodes() -> None:
    asked: list[str] = []
    done = "102 Command completed successfully\n"
    with powermand({"on": done, "off": done, "cycle": done}, asked) as power:
        assert power.on(["n2", "n0", "n1"]) == power.off(["n0"]) == power.cycle(["n0"]) == {}
    assert asked == ["on n[0-2]", "off n0", "cycle n0"]


def test_a_command_that_would_be_too_long_is_split() -> None:
    asked: list[str] = []
    hosts = [f"host{number:04d}-{number * 7919 % 10007}" for number in range(900)]
    with powermand({"on": "102 Command completed successfully\n"}, asked) as power:
        power.on(hosts)
    assert len(asked) > 1
    assert max(len(command) for command in asked) < 8192


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        ("209 No such nodes: n[7-8]\n", UnknownToPowerControl, "n\\[7-8\\]"),
        ("208 Command in progress\n", PowerControlRefused, "busy"),
        ("201 Unknown command\n", PowerControlRefused, "201: Unknown command"),
        ("hello\n", PowerControlRefused, "without a code"),
        ("", PowerControlUnreachable, "closed the connection"),
    ],
)
def test_what_powermand_refuses_is_told_apart(reply: str, error: type[Exception], text: str) -> None:
    with powermand({"on": reply}) as power, pytest.raises(error, match=text):
        power.on(["n7", "n8"])


def test_nobody_listening_is_unreachable() -> None:
    with pytest.raises(PowerControlUnreachable, match=r"127\.0\.0\.1:1"):
        Powerman("127.0.0.1", 1).state(["n0"])


def test_errors_are_given_to_the_nodes_they_name_or_to_all() -> None:
    named = parse_reply("308 n1: connect timeout\r\n210 Command completed with errors\r\n")
    assert parse_complaints(named, ["n0", "n1"]) == {"n1": "n1: connect timeout"}
    device = parse_reply("308 d0: connect timeout\r\n308 d0: connect timeout\r\n210 Command completed with errors\r\n")
    assert parse_complaints(device, ["n0", "n1"]) == {"n0": "d0: connect timeout", "n1": "d0: connect timeout"}
    assert parse_complaints(parse_reply("102 Command completed successfully"), ["n0"]) == {}


@given(st.text(max_size=300))
def test_no_reply_breaks_the_parsers(reply: str) -> None:
    lines = parse_reply(reply)
    parse_complaints(lines, ["n0"])
    assert parse_states([line for line in lines if line[0] != 302]) == {}
