"""Power control: one controller for each machine, in the dialect of powerman's stock `vpc.dev`.

That is one of a strip of sixteen switched outlets behind a TCP port; a controller here has the machine in the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from .machine import Machine

PLUGS = 16
FIRST_PORT = 4001
LISTEN = "127.0.0.1"


class PowerController:
    """The power control of one machine; the plugs behind its first are empty and off."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it logs off; a deaf controller reads and never answers."""
        try:
            async for line in reader:
                if self._machine.is_deaf:
                    continue
                words = line.decode(errors="replace").split()
                if words[:1] == ["logoff"]:
                    writer.write(b"101 OK\n")
                    await writer.drain()
                    break
                writer.write(self.answer(words).encode())
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def answer(self, words: list[str]) -> str:
        """Carry out one command; return the answer with the prompt."""
        match words:
            case ["login"]:
                body = ""
            case ["stat", plug]:
                body = "".join(
                    f"plug {number}: {'ON' if self._is_on(number) else 'OFF'}\n" for number in parse_plugs(plug)
                )
            case ["on" | "off" | "reset" as verb, plug]:
                body = ""
                if 0 in parse_plugs(plug):
                    self._switch(verb)
            case _:
                return "203 ERROR\n1 vpc> "
        return f"{body}100 OK\n1 vpc> "

    def _is_on(self, number: int) -> bool:
        return number == 0 and self._machine.is_on

    def _switch(self, verb: str) -> None:
        if verb != "on":
            self._machine.power_off()
        if verb != "off":
            self._machine.power_on()


def parse_plugs(text: str) -> range:
    """Read a plug's number, or `*` for all."""
    return range(PLUGS) if text == "*" else range(int(text), int(text) + 1)


async def start_power_controllers(machines: Sequence[Machine]) -> list[asyncio.Server]:
    """Start the controllers of machines."""
    controllers = [PowerController(machine) for machine in machines]
    return [
        await asyncio.start_server(controller.serve, LISTEN, FIRST_PORT + place)
        for place, controller in enumerate(controllers)
    ]


def build_powerman_configuration(names: Sequence[str]) -> str:
    """Write powermand's configuration for the controllers."""
    lines = ['include "/etc/powerman/vpc.dev"', 'listen "0.0.0.0:10101"']
    for place, name in enumerate(names):
        lines.append(f'device "bmc{place}" "vpc" "{LISTEN}:{FIRST_PORT + place}"')
        lines.append(f'node "{name}" "bmc{place}" "0"')
    return "\n".join(lines) + "\n"
