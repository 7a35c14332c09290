"""What the unit tests of the phases are made of: a spec, secrets and a context of fakes with virtual time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.phase_contract import PhaseInput, PhaseName
from bessemer.machines.netboot.server import BootServer
from bessemer.machines.netboot.ssh_server import BootEndpoint
from bessemer.machines.secrets import BuildSecrets, SshKeyPair
from bessemer.phases.context import Directories, PhaseContext
from bessemer.phases.progress import NoProgress
from tests.fakes.netboot import FakeBootServer
from tests.fakes.power import FakePower
from tests.fakes.ssh import FakeSsh

LOGIN_KEY = SshKeyPair(
    "private half", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)
SECRETS = BuildSecrets(uid="uid-1", seed=b"s" * 32, login_key=LOGIN_KEY)
HOST_KEY = LOGIN_KEY.public


def build_spec(nodes: int = 4, **changes: Any) -> ClusterBuildSpec:
    """Build a spec with a boot host, a management node oxygen1 and compute nodes oxygen[2-...]."""
    last = nodes + 1
    spec = {
        "bootHost": {
            "ssh": {"address": "boot.example", "hostKey": HOST_KEY},
            "address": "10.77.0.1",
            "bootDirectory": "/srv/http/boot/",
        },
        "management": {
            "host": "oxygen1",
            "address": "10.77.0.10",
            "mac": "52:54:00:77:00:01",
            "install": {"image": "http://10.77.0.1/m.tar.gz", "kernel": "http://10.77.0.1/vmlinuz"},
            "clusterInterface": {"address": "10.141.0.1/16"},
        },
        "compute": {
            "hosts": f"oxygen[2-{last}]" if nodes > 1 else "oxygen2",
            "addresses": f"10.141.0.[2-{last}]" if nodes > 1 else "10.141.0.2",
            "macs": [f"52:54:00:8D:{number // 256:02X}:{number % 256:02X}" for number in range(2, last + 1)],
            "install": {"image": "http://10.77.0.1/c.tar.gz", "kernel": "http://10.77.0.1/vmlinuz"},
        },
        "power": {"powerman": {"address": "power.example"}},
        **changes,
    }
    return ClusterBuildSpec.model_validate(spec)


def build_input(phase: PhaseName, spec: ClusterBuildSpec | None = None, **fields: Any) -> PhaseInput:
    """Build the input of an attempt."""
    return PhaseInput(
        **{"namespace": "hpc", "build": "oxygen", "uid": "uid-1", "attempt": 1, "phase": phase, **fields},
        spec=spec or build_spec(),
    )


class VirtualClock:
    """Time that passes only while a task sleeps; ``hooks`` are called after each sleep, and are the world."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.hooks: list[Callable[[], None]] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        assert self.time < 1_000_000, "the phase doesn't end"
        for hook in self.hooks:
            hook()


class InlineExecutor(Executor):
    """Runs a task where it is submitted, so that threads don't race with virtual time."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class FakeContext(PhaseContext):
    """A context whose clients are fakes."""

    def __init__(self, phase_input: PhaseInput, hosts: list[str]) -> None:
        super().__init__(phase_input, Directories(scratch=Path("/nonexistent")))
        self.virtual_clock = VirtualClock()
        self.clock = self.virtual_clock
        self.fake_power = FakePower(hosts)
        self.fake_ssh = FakeSsh()
        self.boot_servers: dict[str, FakeBootServer] = {}
        self.__dict__ |= {
            "secrets": SECRETS,
            "power": self.fake_power,
            "ssh": self.fake_ssh,
            "progress": NoProgress(),
            "pool": InlineExecutor(),
        }

    def boot_server(self, endpoint: BootEndpoint) -> BootServer:
        return self.boot_servers.setdefault(endpoint.target.name, FakeBootServer())
