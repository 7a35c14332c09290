"""A rack in virtual time: machines that do what a power control and a boot server make them do, or fail to."""

from __future__ import annotations

from dataclasses import dataclass, field

from bessemer.machines.netboot.server import BootEventKind
from bessemer.machines.power.protocol import PowerState
from tests.fakes.ssh import FakeSshMachine
from tests.unit.phases.builders import SECRETS, FakeContext


@dataclass
class FakeMachine:
    """One machine; faults are named as what they lead to."""

    host: str
    fault: str = ""
    heals_after: int = 99
    """So many boots have the fault."""
    boots: int = 0
    step: str = "off"
    installed: bool = False


@dataclass
class FakeRack:
    """Moves its machines on by one step at every sleep of the phase."""

    context: FakeContext
    server_name: str
    machines: dict[str, FakeMachine] = field(default_factory=dict)
    most_at_once: int = 0

    def add(self, host: str, fault: str = "", heals_after: int = 99) -> FakeMachine:
        self.machines[host] = FakeMachine(host, fault, heals_after)
        if fault == "NeverPoweredOn":
            self.context.fake_power.dead.add(host)
        return self.machines[host]

    def start(self) -> None:
        self.context.virtual_clock.hooks.append(self.move)

    def move(self) -> None:
        for machine in self.machines.values():
            self._move(machine)
        busy = sum(machine.step not in ("off", "running") for machine in self.machines.values())
        self.most_at_once = max(self.most_at_once, busy)

    def _move(self, machine: FakeMachine) -> None:
        server = self.context.boot_servers[self.server_name]
        fault = machine.fault if machine.boots <= machine.heals_after else ""
        if self.context.fake_power.states[machine.host] is PowerState.OFF:
            machine.step = "off"
            self.context.fake_ssh.machines.pop(machine.host, None)
        elif machine.step == "off":
            machine.step = "firmware"
            machine.boots += 1
        elif machine.step == "firmware" and fault != "NeverNetbooted":
            booted = server.boot(machine.host)
            machine.step = "installer" if booted else ("starting" if machine.installed else "hangs")
        elif machine.step == "installer":
            server.report(machine.host, BootEventKind.STARTED)
            if fault == "InstallStalled":
                machine.step = "hangs"
                return
            server.report(machine.host, BootEventKind.CONFIG)
            failed = fault == "InstallFailed"
            kind = BootEventKind.FAILED if failed else BootEventKind.FINISHED
            server.report(machine.host, kind, "error: no disk" if failed else "")
            machine.installed = machine.installed or not failed
            stateless = server.entries[machine.host]["persistent"]
            machine.step = "hangs" if failed else "starting" if stateless else "firmware"
        elif machine.step == "starting" and fault != "NeverReachable":
            right = SECRETS.host_key(machine.host).public
            wrong = SECRETS.host_key("another").public
            shown = wrong if fault == "HostKeyMismatch" else right
            self.context.fake_ssh.machines[machine.host] = FakeSshMachine(shown)
            machine.step = "running"
