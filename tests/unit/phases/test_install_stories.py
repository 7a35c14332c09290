"""Golden stories of ``decide_install``: scripted facts in, the plan with its reasons out.

A story is a text file. Lines that begin with ``>`` are the script, the others are what must come out:

    > nodes n[1-2] attempts=2 concurrent=8 power=60 netboot=300 install=600 reachable=120
    > at 10 power n1=Off event n1=kernel,1 probe n1=ANSWERS complain n1=text

To write the expected lines anew after a wanted change: BESSEMER_UPDATE_GOLDEN=1; then read the difference.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bessemer.api.clusterbuild.limits import Deadlines
from bessemer.machines.hostlists import parse_hostlist
from bessemer.machines.netboot.server import BootEvent, BootEventKind
from bessemer.machines.power.protocol import PowerState
from bessemer.phases.install_facts import Facts, NodeInstall, Policy, Probe, ProbeKind, Step
from bessemer.phases.install_plan import decide_install

STORIES = sorted((Path(__file__).parent / "golden").glob("*.story"))
_FACT = re.compile(r"(power|event|probe|complain) (\S+?)=(\S+)")


def start_story(line: str) -> tuple[tuple[NodeInstall, ...], Policy]:
    settings = dict(re.findall(r"(\w+)=(\S+)", line))
    deadlines = Deadlines(
        power_on_seconds=int(settings.get("power", 60)),
        netboot_seconds=int(settings.get("netboot", 300)),
        install_seconds=int(settings.get("install", 600)),
        reachable_seconds=int(settings.get("reachable", 120)),
    )
    look_at, keep = settings.get("adopt", ""), settings.get("keep", "")
    nodes = tuple(
        NodeInstall(
            host,
            "d-1-",
            step=Step.STARTING if host in (look_at, keep) else Step.WAITING,
            keep=host == keep,
        )
        for host in parse_hostlist(line.split()[2])
    )
    return nodes, Policy(deadlines, int(settings.get("attempts", 2)), int(settings.get("concurrent", 8)))


def parse_facts(line: str) -> Facts:
    power, events, probes, complaints = {}, [], {}, {}
    for what, hosts, value in _FACT.findall(line):
        for host in parse_hostlist(hosts):
            if what == "power":
                power[host] = PowerState(value)
            elif what == "event":
                kind, attempt, *detail = value.split(",", 2)
                text = "".join(detail).replace("_", " ").replace("|", "\n")
                events.append(BootEvent(0, BootEventKind(kind), host, f"d-1-{attempt}", text))
            elif what == "probe":
                probes[host] = Probe(ProbeKind[value], f"{host}: {ProbeKind[value]}")
            else:
                complaints[host] = value.replace("_", " ")
    return Facts(power, complaints, events, probes)


def tell_story(script: list[str]) -> list[str]:
    told = [script[0]]
    nodes, policy = start_story(script[0])
    for line in script[1:]:
        plan = decide_install(nodes, parse_facts(line), float(line.split()[2]), policy)
        nodes = plan.nodes
        told.append(line)
        told += [f"  {reason}" for reason in plan.reasons]
        commands = {"withdraw": plan.withdraw, "off": plan.off, "stage": plan.stage, "on": plan.on}
        told += [f"  = {verb} {' '.join(hosts)}" for verb, hosts in commands.items() if hosts]
    told += [f"  . {node.host}: attempt {node.attempt}, {node.step}, {node.reason or '-'}" for node in nodes]
    return told


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_story(story: Path) -> None:
    lines = story.read_text().splitlines()
    told = tell_story([line for line in lines if line.startswith(">")])
    if os.environ.get("BESSEMER_UPDATE_GOLDEN"):
        story.write_text("\n".join(told) + "\n")
    assert told == story.read_text().splitlines()


def test_there_are_stories() -> None:
    assert len(STORIES) >= 10
