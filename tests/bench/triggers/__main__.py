"""``make bench-triggers``: everything runs on a separate cluster; GitLab is the simulator."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from local_kubernetes.choice import get_cluster, open_cluster
from local_kubernetes.errors import ClusterError
from local_kubernetes.kubectl import KubectlError
from local_kubernetes.marker import require_marker
from tests.bench.builds import BenchError
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
    try:
        made = get_cluster(cluster) if cluster else open_cluster("bench-triggers", kept=False)
        try:
            require_marker(made.kubectl, made.kubeconfig)
            with open_scene(made) as scene:
                machine, load = Machine.get(), os.getloadavg()[0]
                console.print(f"Pushing {pushes} times ...")
                lone = measure_lone(scene, pushes)
                console.print(f"Pushing {burst} times at once ...")
                report = Report(machine, load, lone, measure_burst(scene, burst, branches))
                output.write_text(build_document(report), encoding="utf-8")
        finally:
            if not cluster:
                made.down()
    except (BenchError, ClusterError, KubectlError, TimeoutError, subprocess.SubprocessError) as error:
        console.print(f"[red]error:[/] {error}", soft_wrap=True)
        raise SystemExit(1) from None
    show(report, console)
    console.print(f"All figures are in {output}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
