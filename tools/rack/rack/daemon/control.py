"""The rack's control socket: one JSON request and one JSON answer per connection, for `rackctl`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from .boothost import BootHost
from .faults import Fault, FaultBoard
from .journal import Journal
from .machine import Machine
from .settings import BOOT_HOST, CONTROL_SOCKET


class Control:
    """Answers requests about the machines."""

    def __init__(self, machines: list[Machine], boot_host: BootHost, faults: FaultBoard, journal: Journal) -> None:
        self._machines = {machine.name: machine for machine in machines}
        self._boot_host = boot_host
        self._faults = faults
        self._journal = journal

    async def start(self) -> asyncio.Server:
        """Listen."""
        CONTROL_SOCKET.parent.mkdir(parents=True, exist_ok=True)
        CONTROL_SOCKET.unlink(missing_ok=True)
        return await asyncio.start_unix_server(self._serve, CONTROL_SOCKET)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer: dict[str, Any] = {"result": await self._answer(json.loads(await reader.readline()))}
        except (ValueError, KeyError) as error:
            answer = {"error": str(error)}
        writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()

    async def _answer(self, request: dict[str, Any]) -> Any:
        match request["command"]:
            case "state":
                return {name: machine.describe() for name, machine in self._machines.items()}
            case "events":
                return self._journal.list_since(int(request.get("since", 0)))
            case "process":
                return self._find_process(request["machine"])
            case "console":
                console = self._boot_host.console if request["machine"] == BOOT_HOST else self._machine(request).console
                return console.read_tail(int(request.get("lines", 200)))
            case "fault":
                self._switch(self._machine(request), request)
            case "power":
                await self._power(self._machine(request), request["verb"])
            case "wipe":
                await self._machine(request).settle()
                self._machine(request).wipe()
            case other:
                raise ValueError(f"no such command: {other}")
        return None

    def _machine(self, request: dict[str, Any]) -> Machine:
        name = request["machine"]
        if name not in self._machines:
            raise ValueError(f"no machine named {name}; there are {', '.join(self._machines)}")
        return self._machines[name]

    def _find_process(self, name: str) -> int:
        process = self._boot_host.process if name == BOOT_HOST else self._machine({"machine": name}).process
        if process is None:
            raise ValueError(f"{name} does not run")
        return process

    def _switch(self, machine: Machine, request: dict[str, Any]) -> None:
        fault = None if request["fault"] == "all" else Fault(request["fault"])
        if request.get("off"):
            self._faults.switch_off(machine.name, fault)
        elif fault is None:
            raise ValueError("all faults can only be switched off together")
        else:
            self._faults.switch_on(machine.name, fault, request.get("times"))

    async def _power(self, machine: Machine, verb: str) -> None:
        if verb in ("off", "cycle"):
            machine.power_off()
            await machine.settle()
        if verb in ("on", "cycle"):
            machine.power_on()
