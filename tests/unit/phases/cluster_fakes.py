"""A small build, and the clients of a phase that knows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.phase_contract import NodeGroup, NodeState, PhaseInput, PhaseName
from bessemer.machines.ansible import PlaybookRun
from bessemer.machines.clock import Terminated
from bessemer.machines.machine import SshTarget
from bessemer.machines.secrets import SshKeyPair
from bessemer.phases.context import PhaseContext
from bessemer.phases.progress import NoProgress
from tests.fakes.ansible import FakeAnsible
from tests.fakes.slurm import FakeSlurm

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def build_spec(count: int = 4, **changes: Any) -> ClusterBuildSpec:
    """A build of oxygen1 and ``count`` compute nodes; ``changes`` replace parts of the spec, as in YAML."""
    spec: dict[str, Any] = {
        "management": {
            "host": "oxygen1",
            "address": "10.77.0.10",
            "provision": False,
            "ssh": {"address": "rack", "port": 2201, "hostKey": HOST_KEY},
            "clusterInterface": {"name": "eth1", "address": "10.141.0.1/16"},
        },
        "compute": {
            "hosts": f"oxygen[2-{count + 1}]",
            "addresses": f"10.141.0.[2-{count + 1}]",
            "macs": [f"52:54:00:8d:00:{number:02x}" for number in range(2, count + 2)],
            "install": {"image": "http://boot/images/compute.tar.gz", "kernel": "http://boot/kernel/vmlinuz"},
        },
        "power": {"powerman": {"address": "rack"}},
    }
    for key, value in changes.items():
        spec[key] = {**spec[key], **value} if key in spec else value
    return ClusterBuildSpec.model_validate(spec)


def build_input(phase: PhaseName, nodes: Sequence[tuple[str, NodeState, str | None]], **changes: Any) -> PhaseInput:
    """The input of a phase, with nodes given as (hostlist, state, reason)."""
    spec = changes.pop("spec", None) or build_spec()
    groups = [NodeGroup(hosts=hosts, state=state, reason=reason) for hosts, state, reason in nodes]
    return PhaseInput(
        namespace="lab", build="oxygen", uid="u1", phase=phase, attempt=1, spec=spec, nodes=groups, **changes
    )


class VirtualClock:
    """Time that passes only by waiting; ``stop_at`` is when the pod is told to stop."""

    def __init__(self, stop_at: float = float("inf")) -> None:
        self.time = 0.0
        self.stop_at = stop_at

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        if self.time >= self.stop_at:
            raise Terminated


def hosts_of(run: PlaybookRun) -> list[str]:
    """The compute nodes that a run of a playbook dealt with."""
    return list(run.inventory["all"]["children"]["compute"]["hosts"])


class FakeSecrets:
    munge_key = b"k" * 1024
    homes_key = SshKeyPair("private half", "ssh-ed25519 homes")


class FakeDirectories:
    def __init__(self, playbooks: Path) -> None:
        self.playbooks = playbooks


class FakeContext:
    """The clients of a phase."""

    def __init__(self, ansible: FakeAnsible | None = None, slurm: FakeSlurm | None = None) -> None:
        self.ansible = ansible or FakeAnsible()
        self.slurm = slurm or FakeSlurm()
        self.clock = VirtualClock()
        self.progress = NoProgress()
        self.secrets = FakeSecrets()
        self.directories = FakeDirectories(Path("/nonexistent"))
        self.targets = {"oxygen1": SshTarget("oxygen1", "10.77.0.10", HOST_KEY)}

    def as_context(self) -> PhaseContext:
        return cast(PhaseContext, self)
