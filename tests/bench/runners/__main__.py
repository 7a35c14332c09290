"""``make bench-runners``: everything runs on a separate cluster; GitLab is the simulator, gitlab-runner is real."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.bench.clusters import open_bench_cluster
from tests.bench.report import Machine
from tests.bench.requests import send_over_api
from tests.bench.runners.bursts import Burst, measure_burst
from tests.bench.runners.fake_nodes import PLACEMENT, FakeRunners, run_fake_nodes
from tests.bench.runners.fleet import find_tokens, measure_fleet
from tests.bench.runners.lone import measure_cold, measure_managers, measure_warm
from tests.bench.runners.report import Report, build_document, show
from tests.bench.runners.scene import Scene, open_scene
from tests.support.checkout import ROOT

SMALL_BURST, SMALL_BURSTS = 30, 3
LARGE_BURST = 500
PODS_EACH = 50
PARTS = ("cold", "warm", "managers", "bursts", "large-burst", "fleet")
console = Console(highlight=False, width=150)


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    jobs: int
    pools: int


def main(
    parts: Annotated[str, typer.Option(help=f"What to measure, by commas: {', '.join(PARTS)}.")] = ",".join(PARTS),
    jobs: Annotated[int, typer.Option(min=1, help="Jobs for each way to run them one at a time.")] = 50,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = ROOT / "build" / "bench-runners.json",
    pools: Annotated[int, typer.Option(min=1, help="Pools of the fleet, with 50 pods each.")] = 100,
    cluster: Annotated[str | None, typer.Option(help="A test cluster that runs already; it is left up.")] = None,
) -> None:
    """Measure runner pools."""
    chosen, sizes = parse_parts(parts), Sizes(jobs, pools)
    report = Report(Machine.get(), os.getloadavg()[0])
    output.parent.mkdir(parents=True, exist_ok=True)
    with open_bench_cluster("bench-runners", cluster, console) as made, open_scene(made) as scene:
        for part in chosen:
            console.print(f"Measuring: {part} ...")
            MEASURES[part](scene, report, sizes)
            output.write_text(build_document(report), encoding="utf-8")  # after each, as the next may fail
    show(report, console)
    console.print(f"All figures are in {output}", soft_wrap=True)


def add_cold(scene: Scene, report: Report, sizes: Sizes) -> None:
    """Add jobs of a pool without pods."""
    report.cold = measure_cold(scene, sizes.jobs)


def add_warm(scene: Scene, report: Report, sizes: Sizes) -> None:
    """Add jobs of a pool whose pods wait."""
    report.warm = measure_warm(scene, sizes.jobs)


def add_managers(scene: Scene, report: Report, sizes: Sizes) -> None:
    """Add jobs of GitLab's own executor."""
    report.managers = measure_managers(scene, sizes.jobs)


def add_bursts(scene: Scene, report: Report, _: Sizes) -> None:
    """Add bursts on the real kubelet."""
    scene.runners.apply_pool("burst", ["burst"], max=SMALL_BURST)
    report.bursts += [measure_burst(scene, "burst", SMALL_BURST) for _ in range(SMALL_BURSTS)]


def add_large_burst(scene: Scene, report: Report, _: Sizes) -> None:
    """Add a burst on fake nodes."""
    report.bursts.append(measure_large_burst(scene))


def measure_large_burst(scene: Scene) -> Burst:
    """Queue more jobs than the machine could run."""
    pod = scene.runners.pod | PLACEMENT
    with run_fake_nodes(scene):
        scene.runners.apply_pool("large", ["large"], max=LARGE_BURST, maxStarting=LARGE_BURST, pod=pod)
        send = send_over_api(scene.client, scene.runners.kubectl.namespace)
        fake = FakeRunners(send, find_tokens(scene, ["large"]))
        scene.watch.listeners.append(fake.note)
        try:
            return measure_burst(scene, "large", LARGE_BURST)
        finally:
            scene.watch.listeners.remove(fake.note)
            fake.close()


def add_fleet(scene: Scene, report: Report, sizes: Sizes) -> None:
    """Add many pools."""
    report.fleet = measure_fleet(scene, sizes.pools, PODS_EACH)


MEASURES: dict[str, Callable[[Scene, Report, Sizes], None]] = {
    "cold": add_cold,
    "warm": add_warm,
    "managers": add_managers,
    "bursts": add_bursts,
    "large-burst": add_large_burst,
    "fleet": add_fleet,
}


def parse_parts(text: str) -> list[str]:
    """Read what to measure. Raises typer.BadParameter."""
    words = [word.strip() for word in text.split(",")]
    if not set(words) <= set(PARTS):
        raise typer.BadParameter(f"--parts: some of {', '.join(PARTS)} by commas, not {text!r}")
    return [part for part in PARTS if part in words]


if __name__ == "__main__":
    typer.run(main)
