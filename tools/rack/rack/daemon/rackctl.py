"""`rackctl`: inspects the rack and switches faults, from inside the pod."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from typing import Any, NoReturn

from .faults import Fault
from .settings import CONTROL_SOCKET


def build_parser() -> argparse.ArgumentParser:
    """Describe the commands."""
    parser = argparse.ArgumentParser(prog="rackctl", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("state", help="print every machine's state as JSON")
    events = commands.add_parser("events", help="print what happened as JSON")
    events.add_argument("--since", type=int, default=0, help="only events after this sequence number")
    fault = commands.add_parser("fault", help="switch a machine's fault on or off")
    fault.add_argument("machine")
    fault.add_argument("fault", choices=[*map(str, Fault), "all"])
    fault.add_argument("--times", type=int, help="how often it happens (default: always; dies-once: once)")
    fault.add_argument("--off", action="store_true")
    console = commands.add_parser("console", help="print the end of a machine's console")
    console.add_argument("machine")
    console.add_argument("--lines", type=int, default=200)
    power = commands.add_parser("power", help="press a machine's button")
    power.add_argument("verb", choices=["on", "off", "cycle"])
    power.add_argument("machine")
    wipe = commands.add_parser("wipe", help="put an empty disk into a machine that is off")
    wipe.add_argument("machine")
    run = commands.add_parser("exec", help="run a program inside a machine, or inside `boothost`")
    run.add_argument("machine")
    run.add_argument("argv", nargs=argparse.REMAINDER)
    return parser


def request(document: dict[str, Any]) -> Any:
    """Ask the daemon.

    Raises:
        ValueError: it refused; the message says why.

    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(CONTROL_SOCKET))
        connection.sendall(json.dumps(document).encode() + b"\n")
        with connection.makefile() as stream:
            answer = json.loads(stream.readline())
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer["result"]


def main() -> int:
    """Run one command."""
    options = vars(build_parser().parse_args())
    try:
        if options["command"] == "exec":
            execute(options["machine"], options["argv"])
        result = request(options)
    except (ValueError, OSError) as error:
        print(f"rackctl: {error}", file=sys.stderr)
        return 1
    if result is not None:
        print(result if isinstance(result, str) else json.dumps(result, indent=1))
    return 0


def execute(machine: str, argv: list[str]) -> NoReturn:
    """Become a program inside a machine."""
    process = request({"command": "process", "machine": machine})
    words = argv[1:] if argv[:1] == ["--"] else argv
    environment = {
        "HOME": "/root",
        "TERM": "linux",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    # All namespaces but the user's, with its root and working folder.
    command = ["nsenter", "-t", str(process), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
    os.execvpe(command[0], [*command, *(words or ["sh"])], environment)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    sys.exit(main())
