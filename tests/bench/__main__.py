"""``make bench``: how long builds take on the rack, where the time goes, and what the operator needs for itself.

Everything runs on a separate cluster, with Bessemer installed by its charts. How long ``make demo`` and ``make test``
take is not measured here: docs/benchmarks.md says it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from local_kubernetes.kubectl import Kubectl
from local_kubernetes.protocol import Cluster
from rack.daemon.settings import MOST_COMPUTE_NODES
from rack.image.build import build_image as build_lab_image
from tests.bench.builds import measure_build
from tests.bench.clusters import open_bench_cluster
from tests.bench.images import get_image_size
from tests.bench.operator_process import get_memory, get_wakeups
from tests.bench.report import Machine, Report, build_document, show
from tests.support.checkout import ROOT
from tests.support.site import SYSTEM_NAMESPACE, install_bessemer

console = Console(highlight=False)


def main(
    sizes: Annotated[str, typer.Option(help="How many compute nodes each build has, by commas.")] = "1,4,16",
    handoffs: Annotated[int, typer.Option(min=0, help="How often Verify runs again on the first build.")] = 30,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = ROOT / "build" / "bench.json",
    cluster: Annotated[str | None, typer.Option(help="A test cluster that runs already; it is left up.")] = None,
) -> None:
    """Measure builds on racks of several sizes."""
    counts = parse_sizes(sizes)
    with open_bench_cluster("bench", cluster, console) as made:
        report = measure(made, counts, handoffs)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(build_document(report), encoding="utf-8")
    show(report, console)
    console.print(f"All figures are in {output}", soft_wrap=True)


def measure(cluster: Cluster, counts: list[int], handoffs: int) -> Report:
    """Install Bessemer, run the builds one after the other, then look at the operator."""
    console.print("Installing Bessemer with Helm ...")
    image = install_bessemer(cluster)
    builds = []
    for number, nodes in enumerate(counts):
        repeats = 0 if number else handoffs
        console.print(
            f"Building a cluster of {nodes}" + (f", then Verify {repeats} times more ..." if repeats else " ...")
        )
        builds.append(measure_build(cluster, nodes, repeats))
    system = Kubectl(cluster.kubectl, cluster.kubeconfig, SYSTEM_NAMESPACE)
    images = [get_image_size(image), get_image_size(build_lab_image())]
    return Report(Machine.get(), builds, get_wakeups(system), get_memory(system), images)


def parse_sizes(text: str) -> list[int]:
    """Read numbers of compute nodes. Raises typer.BadParameter."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= MOST_COMPUTE_NODES for word in words):
        raise typer.BadParameter(f"--sizes: numbers from 1 to {MOST_COMPUTE_NODES} by commas, not {text!r}")
    return [int(word) for word in words]


if __name__ == "__main__":
    typer.run(main)
