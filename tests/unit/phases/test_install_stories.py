"""Golden stories of ``decide_install``: what is seen of nodes, each step with its reason, and their state."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bessemer.api.clusterbuild.limits import Deadlines
from bessemer.machines.hostlists import parse_hostlist
from bessemer.machines.netboot.server import BootEvent, BootEventKind
from bessemer.machines.power.protocol import PowerState
from bessemer.phases.install_facts import Facts, NodeInstall, Policy, Probe, ProbeKind, Step
from bessemer.phases.install_plan import decide_install
from tests.unit.stories.book import list_stories
from tests.unit.stories.teller import event, tell_story


class InstallStage:
    """Nodes that are installed; each look at them is one decision, so that a chapter has one."""

    def __init__(self) -> None:
        self.nodes: tuple[NodeInstall, ...] = ()
        self.policy = Policy(Deadlines(), 2, 8)
        self.facts = Facts({}, {}, [], {})
        self.now = 0.0
        self.told: list[str] = []

    @event("nodes")
    def add_nodes(
        self,
        nodes: str,
        *,
        attempts: int = 2,
        concurrent: int = 8,
        power: int = 60,
        netboot: int = 300,
        install: int = 600,
        reachable: int = 120,
        adopt: str = "",
        keep: str = "",
    ) -> None:
        """These nodes must be installed, within these deadlines in seconds."""
        deadlines = Deadlines(
            power_on_seconds=power, netboot_seconds=netboot, install_seconds=install, reachable_seconds=reachable
        )
        self.policy = Policy(deadlines, attempts, concurrent)
        self.nodes = tuple(
            NodeInstall(host, "d-1-", step=Step.STARTING if host in (adopt, keep) else Step.WAITING, keep=host == keep)
            for host in parse_hostlist(nodes)
        )

    @event("at")
    def look(
        self,
        at: float,
        *,
        power: dict[str, str] | None = None,
        boot: list[str] | None = None,
        probes: dict[str, str] | None = None,
        complaints: dict[str, str] | None = None,
    ) -> None:
        """At this second, this is seen of hosts; of boot events: host, kind, number of the attempt, and text."""
        self.now = at
        self.facts = Facts(
            {host: PowerState(state) for host, state in _expand(power).items()},
            _expand(complaints),
            [one for line in boot or () for one in _parse_boot(line)],
            {host: Probe(ProbeKind[kind], f"{host}: {ProbeKind[kind]}") for host, kind in _expand(probes).items()},
        )

    def tell(self) -> list[str]:
        before = {node.host: _describe(node) for node in self.nodes}
        plan = decide_install(self.nodes, self.facts, self.now, self.policy)
        self.nodes = plan.nodes
        commands = {"withdraw": plan.withdraw, "off": plan.off, "stage": plan.stage, "on": plan.on}
        acts = [f"= {verb} {' '.join(hosts)}" for verb, hosts in commands.items() if hosts]
        states = [_describe(node) for node in self.nodes if _describe(node) != before[node.host]]
        return [*plan.reasons, *acts, *states]


def _expand(seen: dict[str, str] | None) -> dict[str, str]:
    return {host: value for hosts, value in (seen or {}).items() for host in parse_hostlist(hosts)}


def _parse_boot(line: str) -> list[BootEvent]:
    hosts, kind, attempt, *text = line.split(" ", 3)
    return [BootEvent(0, BootEventKind(kind), host, f"d-1-{attempt}", "".join(text)) for host in parse_hostlist(hosts)]


def _describe(node: NodeInstall) -> str:
    return f". {node.host}: attempt {node.attempt}, {node.step}, {node.reason or '-'}"


@pytest.mark.parametrize("path", list_stories(__file__), ids=lambda path: path.stem)
async def test_story(path: Path) -> None:
    await tell_story(path, InstallStage(), os.environ)
