"""The powerman client against scripted replies; tests/contract runs it against a real powermand."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.machines.power.powerman import (
    PROMPT,
    Powerman,
    parse_complaints,
    parse_devices,
    parse_reply,
    parse_states,
)
from bessemer.machines.power.protocol import (
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


def test_a_port_without_a_listener_is_unreachable() -> None:
    with pytest.raises(PowerControlUnreachable, match=r"127\.0\.0\.1:1"):
        Powerman("127.0.0.1", 1).state(["n0"])


def test_errors_are_given_to_the_nodes_they_name_or_to_those_of_the_device() -> None:
    named = parse_reply("308 n1: connect timeout\r\n210 Command completed with errors\r\n")
    assert parse_complaints(named, ["n0", "n1"], {}) == {"n1": "n1: connect timeout"}
    device = parse_reply("308 d1: login timeout\r\n308 d1: login timeout\r\n210 Command completed with errors\r\n")
    devices = {"d0": frozenset({"n0", "n1"}), "d1": frozenset({"n16", "n17"})}
    assert parse_complaints(device, ["n0", "n16"], devices) == {"n16": "d1: login timeout"}
    assert parse_complaints(device, ["n0", "n16"], {}) == {}, "better none than one about a healthy node"
    assert parse_complaints(parse_reply("102 Command completed successfully"), ["n0"], {}) == {}


def test_the_nodes_of_a_device_that_failed_are_asked_for() -> None:
    asked: list[str] = []
    replies = {
        "on": "308 d1: login timeout\n210 Command completed with errors\n",
        "device": "304 d0: state=connected reconnects=000 actions=007 type=vpc hosts=n[0-15]\n"
        "304 d1: state=disconnected reconnects=003 actions=000 type=vpc hosts=n[16-31]\n103 Query complete\n",
    }
    with powermand(replies, asked) as power:
        assert power.on(["n0", "n16"]) == {"n16": "d1: login timeout"}
    assert asked == ["on n[0,16]", "device n[0,16]"]


def test_a_node_that_is_said_to_be_both_is_known_to_be_neither() -> None:
    lines = parse_reply("302 on: n[0-1]\n302 off: n[1-2]\n103 Query complete\n")
    assert parse_states(lines) == {"n0": PowerState.ON, "n1": PowerState.UNKNOWN, "n2": PowerState.OFF}


@pytest.mark.parametrize("hostlist", ["n[1-99999999]", "n[", "", "n[3-1]", "\u2028", "n" * 100_000])
def test_a_hostlist_that_cannot_be_read_names_no_node(hostlist: str) -> None:
    with powermand({"status": f"302 off: {hostlist}\n302 on: n1\n103 Query complete\n"}) as power:
        assert power.state(["n0", "n1"]) == {"n0": PowerState.UNKNOWN, "n1": PowerState.ON}
    with powermand({"status": f"209 No such nodes: {hostlist}\n"}) as power, pytest.raises(UnknownToPowerControl):
        power.state(["n0"])


def test_what_powermand_says_is_shown_as_one_printable_line() -> None:
    reply = "308 n0: \x1b]0;pwned\x07\x1b[2Jboom\u2028boom\n210 Command completed with errors\n"
    with powermand({"on": reply, "device": "103 Query complete\n"}) as power:
        assert power.on(["n0"]) == {"n0": "n0: boom boom"}
    with powermand({"on": "201 \x1b[31mno" + "o" * 9999 + "\n"}) as power, pytest.raises(PowerControlRefused) as caught:
        power.on(["n0"])
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


NUMBERED = st.builds("{} {}".format, st.sampled_from([103, 209, 210, 302, 304, 308]), st.text(max_size=60))


@given(st.one_of(st.text(max_size=300), st.lists(NUMBERED, max_size=9).map("\r\n".join)))
def test_no_reply_breaks_the_parsers(reply: str) -> None:
    lines = parse_reply(reply)
    parse_states(lines)
    parse_devices(lines)
    complaints = parse_complaints([*lines, (210, "Command completed with errors")], ["n0"], {"d0": frozenset({"n0"})})
    assert all(text.isprintable() for text in complaints.values())
