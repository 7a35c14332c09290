"""What was measured, as tables for people and as JSON for programs. Times are seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from tests.bench.report import Machine
from tests.bench.timeline import compute_distribution
from tests.bench.triggers.measure import Burst, Lone

WANTED_P50 = "0.2"
WANTED_ANSWER = "1"


@dataclass
class Report:
    """All figures of one run."""

    machine: Machine
    load_before: float
    """The machine's load average over the last minute before anything was measured."""
    lone: Lone
    burst: Burst


def build_document(report: Report) -> str:
    """Return the report as JSON, every sample in it."""
    return json.dumps(asdict(report), indent=1) + "\n"


def show(report: Report, console: Console) -> None:
    """Print the report."""
    console.print(report.machine.describe(report.load_before), soft_wrap=True)
    lone, burst = report.lone, report.burst
    table = Table("Pushes one at a time, s", "Count", "p50", "p99", "Maximum", "Wanted p50")
    _add_row(table, "webhook to ClusterBuild created", lone.created, WANTED_P50)
    _add_row(table, "webhook to answer", lone.answered, "")
    console.print(table)

    table = Table(f"{burst.pushes} pushes to {burst.branches} branches at once", "", "Wanted")
    answers = compute_distribution(burst.answered)
    table.add_row("webhook to answer, s: p50", f"{answers.p50:.2f}", "")
    table.add_row("webhook to answer, s: p99", f"{answers.p99:.2f}", "")
    table.add_row("webhook to answer, s: maximum", f"{answers.maximum:.2f}", WANTED_ANSWER)
    table.add_row("not answered with 2xx", str(burst.refused), "0")
    table.add_row("all answered after, s", f"{burst.last_answer:.1f}", "")
    table.add_row("all ClusterBuilds at the last commits after, s", f"{burst.followed:.1f}", "")
    table.add_row("operator, resident at most, MB", f"{burst.memory.peak / 1e6:.0f}", "")
    console.print(table)

    table = Table("The operator's requests for each push", "Pushes", "Kubernetes", "GitLab", "Most of them")
    for name, pushes, requests in (("one at a time", len(lone.created), lone.requests),
                                   ("burst", burst.pushes, burst.requests)):  # fmt: skip
        parts = sorted((requests.kubernetes | requests.gitlab).items(), key=lambda part: -part[1])[:8]
        sums = (f"{sum(counts.values()) / pushes:.2f}" for counts in (requests.kubernetes, requests.gitlab))
        table.add_row(name, str(pushes), *sums, ", ".join(f"{part} {count / pushes:.2f}" for part, count in parts))
    console.print(table)


def _add_row(table: Table, name: str, samples: Sequence[float], wanted: str) -> None:
    found = compute_distribution(samples)
    table.add_row(name, str(found.count), *(f"{v:.3f}" for v in (found.p50, found.p99, found.maximum)), wanted)
