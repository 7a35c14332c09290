"""``make bench-triggers``: everything runs on a separate cluster; GitLab is the simulator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.bench.clusters import open_bench_cluster
from tests.bench.report import Machine
from tests.bench.triggers.measure import measure_burst, measure_lone
from tests.bench.triggers.report import Report, build_document, show
from tests.bench.triggers.scene import open_scene
from tests.support.checkout import ROOT

console = Console(highlight=False, width=150)


def main(
    pushes: Annotated[int, typer.Option(min=1, help="Pushes one at a time.")] = 50,
    burst: Annotated[int, typer.Option(min=1, help="Pushes at once.")] = 1000,
    branches: Annotated[int, typer.Option(min=1, max=50, help="Branches that the burst goes to.")] = 20,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = ROOT / "build" / "bench-triggers.json",
    cluster: Annotated[str | None, typer.Option(help="A test cluster that runs already; it is left up.")] = None,
) -> None:
    """Measure build triggers."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with open_bench_cluster("bench-triggers", cluster, console) as made, open_scene(made) as scene:
        machine, load = Machine.get(), os.getloadavg()[0]
        console.print(f"Pushing {pushes} times ...")
        lone = measure_lone(scene, pushes)
        console.print(f"Pushing {burst} times at once ...")
        report = Report(machine, load, lone, measure_burst(scene, burst, branches))
        output.write_text(build_document(report), encoding="utf-8")
    show(report, console)
    console.print(f"All figures are in {output}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
