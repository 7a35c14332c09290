"""What was measured, as tables for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from local_kubernetes.choice import get_kube_minor
from tests.bench.builds import BuildFigures
from tests.bench.images import ImageSize
from tests.bench.operator_process import OperatorMemory, Wakeups
from tests.bench.timeline import Distribution, Handoff, compute_distribution

WANTED_P50, WANTED_P99 = 0.1, 0.5
"""Seconds within which a handoff is wanted."""


@dataclass(frozen=True)
class Machine:
    """What it was measured on."""

    system: str
    kernel: str
    processors: int
    memory: int
    """Bytes."""
    kubernetes: str

    @classmethod
    def get(cls) -> Machine:
        """Describe this machine."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
        return cls(system, platform.release(), os.cpu_count() or 0, memory, get_kube_minor())

    def describe(self, load_before: float) -> str:
        """Return it as one line, with the load average before anything was measured."""
        return (
            f"{self.system}, Linux {self.kernel}, {self.processors} processors, {self.memory / 1e9:.0f} GB, "
            f"Kubernetes {self.kubernetes}; load average before: {load_before:.1f}"
        )


@dataclass(frozen=True)
class Report:
    """All figures of one run."""

    machine: Machine
    builds: list[BuildFigures]
    wakeups: Wakeups | None
    memory: OperatorMemory
    images: list[ImageSize]

    @property
    def handoff_groups(self) -> dict[str, list[Handoff]]:
        """The handoffs by where they come from, those with any."""
        of_builds = [handoff for build in self.builds for handoff in build.handoffs]
        repeated = [handoff for build in self.builds for handoff in build.repeated]
        groups = {"all": of_builds + repeated, "whole builds": of_builds, "Verify again": repeated}
        return {name: found for name, found in groups.items() if found}


def build_document(report: Report) -> str:
    """Return the report as JSON; times are in seconds, sizes in bytes."""
    document = asdict(report)
    document["handoffs"] = {
        name: {
            "watch": asdict(compute_distribution(watched(found))),
            "timestamps": asdict(compute_distribution(timestamped(found))),
        }
        for name, found in report.handoff_groups.items()
    }
    return json.dumps(document, indent=1) + "\n"


def show(report: Report, console: Console) -> None:
    """Print the report."""
    machine = report.machine
    console.print(
        f"{machine.system}, Linux {machine.kernel}, {machine.processors} processors, "
        f"{machine.memory / 2**30:.0f} GiB; Kubernetes {machine.kubernetes}",
        soft_wrap=True,
    )
    for table in (
        build_handoffs(report),
        build_builds(report.builds),
        build_phases(report.builds),
        build_sizes(report),
    ):
        console.print(table)


def build_handoffs(report: Report) -> Table:
    """Lay out how long it is from a phase pod's end to the next one's creation."""
    table = Table("Handoff", "Count", "p50", "p99", "Maximum", title="Phase pod finished to next phase pod created, ms")
    for name, found in report.handoff_groups.items():
        add_distribution(table, f"by a watch, {name}", compute_distribution(watched(found)))
    everything = report.handoff_groups["all"]
    add_distribution(table, "by timestamps of whole seconds", compute_distribution(timestamped(everything)))
    if report.wakeups:
        wakeups = report.wakeups
        estimates = (f"{wakeups.p50 * 1e3:.0f}", f"{wakeups.p99 * 1e3:.0f}", "")
        table.add_row("operator's metric (from its wake-up)", str(wakeups.count), *estimates)
    overall = compute_distribution(watched(everything))
    verdict = "met" if overall.p50 <= WANTED_P50 and overall.p99 <= WANTED_P99 else "[red]missed[/]"
    table.add_section()
    table.add_row("wanted, by a watch", verdict, f"{WANTED_P50 * 1e3:.0f}", f"{WANTED_P99 * 1e3:.0f}", "")
    return table


def build_builds(builds: Sequence[BuildFigures]) -> Table:
    """Lay out how long builds took, and what of it was the operator's."""
    table = Table("", *(name_nodes(build) for build in builds), title="From the button, s")
    rows: dict[str, Callable[[BuildFigures], str]] = {
        "to the verified job": lambda build: f"{build.split.verified:.1f}",
        "to Ready, cleaned up": lambda build: f"{build.split.ready:.1f}",
        "of it kubectl": lambda build: f"{build.split.accepted:.2f}",
        "of it the operator": lambda build: f"{build.split.operator:.2f}",
        "of it starting pods": lambda build: f"{sum(phase.start for phase in build.split.phases):.1f}",
        "of it phases at work": lambda build: f"{sum(phase.work for phase in build.split.phases):.1f}",
        "operator's share": lambda build: f"{build.split.operator / build.split.ready:.1%}",
        "load average before": lambda build: f"{build.load_before:.1f}",
    }
    for name, value in rows.items():
        table.add_row(name, *(value(build) for build in builds))
    return table


def build_phases(builds: Sequence[BuildFigures]) -> Table:
    """Lay out what each phase took."""
    table = Table("Phase", *(name_nodes(build) for build in builds), title="Phases, s: start of the pod + work")
    for phases in zip(*(build.split.phases for build in builds), strict=True):
        table.add_row(phases[0].phase, *(f"{phase.start:.1f} + {phase.work:.1f}" for phase in phases))
    return table


def build_sizes(report: Report) -> Table:
    """Lay out memory and disk."""
    table = Table("", "MB", title="Sizes")
    table.add_row("operator, resident after the builds", megabytes(report.memory.resident))
    table.add_row("operator, resident at most", megabytes(report.memory.peak))
    for image in report.images:
        name = image.name.rpartition("/")[2].partition(":")[0]
        table.add_row(f"image {name}, archive", megabytes(image.archive))
        table.add_row(f"image {name}, unpacked", megabytes(image.unpacked))
    return table


def add_distribution(table: Table, name: str, found: Distribution) -> None:
    """Add a row, in milliseconds."""
    table.add_row(name, str(found.count), *(f"{value * 1e3:.0f}" for value in (found.p50, found.p99, found.maximum)))


def watched(handoffs: Sequence[Handoff]) -> list[float]:
    """Return the seconds that the watch saw."""
    return [handoff.seconds for handoff in handoffs]


def timestamped(handoffs: Sequence[Handoff]) -> list[float]:
    """Return the seconds by Kubernetes' timestamps."""
    return [handoff.api_seconds for handoff in handoffs]


def name_nodes(build: BuildFigures) -> str:
    """Name a column."""
    return f"{build.nodes} node{'' if build.nodes == 1 else 's'}"


def megabytes(size: int) -> str:
    """Write bytes in millions."""
    return f"{size / 1e6:.0f}"
