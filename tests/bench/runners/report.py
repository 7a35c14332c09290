"""What was measured, as tables for people and as JSON for programs. Times are seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise

from rich.console import Console
from rich.table import Table

from tests.bench.report import Machine
from tests.bench.runners.bursts import Burst
from tests.bench.runners.fleet import FleetFigures
from tests.bench.runners.journeys import COLD, MANAGER, WARM, Journey
from tests.bench.runners.lone import Lone
from tests.bench.timeline import compute_distribution


@dataclass
class Report:
    """All figures of one run; what was not measured is empty."""

    machine: Machine
    load_before: float
    """The machine's load average over the last minute before anything was measured."""
    cold: Lone | None = None
    warm: Lone | None = None
    managers: dict[str, Lone] = field(default_factory=dict)
    bursts: list[Burst] = field(default_factory=list)
    fleet: FleetFigures | None = None

    @property
    def ways(self) -> dict[str, tuple[Lone, Sequence[str]]]:
        """The ways in which jobs were run one at a time, each with the marks of a job's way."""
        own = {"Bessemer, no pod": (self.cold, COLD), "Bessemer, pods wait": (self.warm, WARM)}
        found: dict[str, tuple[Lone, Sequence[str]]] = {
            name: (lone, order) for name, (lone, order) in own.items() if lone is not None
        }
        return found | {f"executor Kubernetes, {name}": (lone, MANAGER) for name, lone in self.managers.items()}


def build_document(report: Report) -> str:
    """Return the report as JSON, every sample in it."""
    return json.dumps(asdict(report), indent=1) + "\n"


def show(report: Report, console: Console) -> None:
    """Print the report."""
    console.print(report.machine.describe(report.load_before), soft_wrap=True)
    if report.ways:
        console.print(build_latencies(report))
        for name, (lone, order) in report.ways.items():
            console.print(build_split(name, lone.journeys, order))
    if report.bursts:
        console.print(build_bursts(report.bursts))
    console.print(build_requests(report))
    if report.fleet is not None:
        console.print(build_fleet(report.fleet))


def build_latencies(report: Report) -> Table:
    """Lay out how long jobs that come alone take."""
    table = Table("Jobs one at a time, s", "Count", "p50", "p99", "Maximum", "Wanted p50", "p99")
    rows: dict[str, tuple[Callable[[Journey], float], tuple[str, str]]] = {
        "webhook to pod created": (lambda way: way.marks["pod created"] - way.marks["webhook"], ("0.15", "1")),
        "webhook to first line": (lambda way: way.to_first_line, ("", "")),
        "webhook to job's end": (lambda way: way.to_end, ("", "")),
        "job's end to container's end seen": (lambda way: way.to_ended, ("-", "-")),
        "job's end to pod and manager gone": (lambda way: way.to_gone, ("1", "3")),
    }
    for label, (value, wanted) in rows.items():
        for name, (lone, _) in report.ways.items():
            mine = name == "Bessemer, no pod" or (name.startswith("Bessemer") and label.startswith("job's end"))
            if wanted[0] and not mine:
                continue
            add_row(table, f"{label}: {name}", [value(way) for way in lone.journeys], wanted)
        table.add_section()
    return table


def build_split(name: str, journeys: Sequence[Journey], order: Sequence[str]) -> Table:
    """Lay out where the time to the first line went."""
    table = Table(name, "p50", "p99", "Maximum")
    splits = [journey.compute_split(order) for journey in journeys]
    for index, (before, after) in enumerate(pairwise(order)):
        found = compute_distribution([split[index] for split in splits])
        table.add_row(f"{before} to {after}", *(f"{value:.3f}" for value in (found.p50, found.p99, found.maximum)))
    return table


def build_bursts(bursts: Sequence[Burst]) -> Table:
    """Lay out how fast pods come."""
    table = Table("Burst, s", "First pod", "All pods created", "All gone")
    for burst in bursts:
        table.add_row(f"0 to {burst.jobs}", *(f"{value:.2f}" for value in (burst.first, burst.last, burst.over)))
    return table


def build_requests(report: Report) -> Table:
    """Lay out what the operator asked for, for each finished job."""
    table = Table("The operator's requests for each job", "Jobs", "Kubernetes", "GitLab", "Most of them")
    counted = {name: (len(lone.journeys), lone.requests) for name, (lone, _) in report.ways.items()}
    counted |= {
        f"burst of {burst.jobs}, number {n}": (burst.jobs, burst.requests) for n, burst in enumerate(report.bursts)
    }
    for name, (jobs, requests) in counted.items():
        if not name.startswith("executor"):
            parts = sorted((requests.kubernetes | requests.gitlab).items(), key=lambda part: -part[1])[:6]
            sums = (f"{sum(counts.values()) / jobs:.2f}" for counts in (requests.kubernetes, requests.gitlab))
            table.add_row(name, str(jobs), *sums, ", ".join(f"{part} {count / jobs:.2f}" for part, count in parts))
    table.add_section()
    table.add_row("wanted", "", "4", "1", "")
    return table


def build_fleet(fleet: FleetFigures) -> Table:
    """Lay out what many pods cost."""
    table = Table(f"{fleet.pools} pools, {fleet.pods} pods", "", "Wanted")
    webhook, end = compute_distribution(fleet.webhook_lags), compute_distribution(fleet.end_lags)
    table.add_row("until all run, s", f"{fleet.filled:.0f}", "")
    table.add_row("operator, resident, MB", f"{fleet.memory.resident / 1e6:.0f}", "500")
    table.add_row("operator, resident at most, MB", f"{fleet.memory.peak / 1e6:.0f}", "500")
    table.add_row("operator, processors, no jobs", f"{fleet.calm_cpu:.2f}", "")
    table.add_row(f"operator, processors, {fleet.jobs} jobs in a minute", f"{fleet.load_cpu:.2f}", "")
    table.add_row("webhook to pod sent, s: p50, p99", f"{webhook.p50:.2f}, {webhook.p99:.2f}", "1")
    table.add_row("pod ended to pod gone, s: p50, p99", f"{end.p50:.2f}, {end.p99:.2f}", "1")
    table.add_row("load average", f"{fleet.load_average:.1f}", "")
    return table


def add_row(table: Table, name: str, samples: Sequence[float], wanted: tuple[str, str]) -> None:
    """Add a distribution."""
    found = compute_distribution(samples)
    table.add_row(name, str(found.count), *(f"{v:.2f}" for v in (found.p50, found.p99, found.maximum)), *wanted)
