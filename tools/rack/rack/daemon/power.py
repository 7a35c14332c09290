"""Switched outlets in the dialect that powerman's stock `vpc.dev` speaks: sixteen plugs behind a TCP port."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from .machine import Machine

PLUGS = 16
FIRST_PORT = 4001
LISTEN = "127.0.0.1"


class PowerStrip:
    """One strip of sixteen plugs; those beyond its machines are empty and off."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._machines = machines

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it logs off."""
        try:
            async for line in reader:
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
        """Carry out one command; give the answer with the prompt."""
        match words:
            case ["login"]:
                body = ""
            case ["stat", plug]:
                body = "".join(
                    f"plug {number}: {'ON' if self._is_on(number) else 'OFF'}\n" for number in parse_plugs(plug)
                )
            case ["on" | "off" | "reset" as verb, plug]:
                body = ""
                for machine in (self._machines[number] for number in parse_plugs(plug) if number < len(self._machines)):
                    if verb != "on":
                        machine.power_off()
                    if verb != "off":
                        machine.power_on()
            case _:
                return "203 ERROR\n1 vpc> "
        return f"{body}100 OK\n1 vpc> "

    def _is_on(self, number: int) -> bool:
        return number < len(self._machines) and self._machines[number].is_on


def parse_plugs(text: str) -> range:
    """Read a plug's number, or `*` for all."""
    return range(PLUGS) if text == "*" else range(int(text), int(text) + 1)


async def start_power_strips(machines: Sequence[Machine]) -> list[asyncio.Server]:
    """Start as many strips as the machines need."""
    strips = [PowerStrip(machines[start : start + PLUGS]) for start in range(0, len(machines), PLUGS)]
    return [await asyncio.start_server(strip.serve, LISTEN, FIRST_PORT + number) for number, strip in enumerate(strips)]


def build_powerman_configuration(names: Sequence[str]) -> str:
    """Write powermand's configuration for the strips."""
    lines = ['include "/etc/powerman/vpc.dev"', 'listen "0.0.0.0:10101"']
    for strip, start in enumerate(range(0, len(names), PLUGS)):
        lines.append(f'device "strip{strip}" "vpc" "{LISTEN}:{FIRST_PORT + strip}"')
        lines += [f'node "{name}" "strip{strip}" "{plug}"' for plug, name in enumerate(names[start : start + PLUGS])]
    return "\n".join(lines) + "\n"
