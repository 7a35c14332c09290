"""``make demo``: a Kubernetes, Bessemer, a rack of machines, one manifest, and finally a Slurm job.

With ``--keep`` everything is left running, and the output explains how to inspect and remove it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from local_kubernetes.binaries.tools import tool
from local_kubernetes.choice import open_cluster
from local_kubernetes.errors import ClusterError
from local_kubernetes.kubectl import Resource
from local_kubernetes.protocol import Cluster
from rack.lab import Lab
from tests.support.site import Site, install_bessemer

NAMESPACE = "lab"
BUILD = "oxygen"
BUILD_SECONDS = 1800
"""Timeout of ``bessemer watch``: several times the duration of a build of this size."""

console = Console(highlight=False)


def main(
    keep: Annotated[bool, typer.Option(help="Leave cluster, rack and build up afterwards.")] = False,
    nodes: Annotated[int, typer.Option(min=1, max=64, help="How many compute nodes the rack has.")] = 4,
) -> None:
    """Build a cluster from bare metal, and show each step."""
    started = time.monotonic()
    try:
        cluster = open_cluster("demo", kept=keep)
        try:
            code = show(cluster, nodes, started)
            if keep:
                say_how_to_look(cluster)
        finally:
            if not keep:
                with step("Taking it all down"):
                    cluster.down()
    except ClusterError as error:
        console.print(f"[red]{error}")
        code = 1
    raise SystemExit(code)


def show(cluster: Cluster, nodes: int, started: float) -> int:
    """Install, apply, watch, and show the result; return the exit code."""
    with step("Installing Bessemer with Helm"):
        install_bessemer(cluster)
    with step(f"Putting up a rack: a boot host, a management node and {nodes} compute nodes, all powered off"):
        site = Site(cluster, NAMESPACE, Lab.install(cluster, NAMESPACE, compute_nodes=nodes))
        site.apply_login()
    console.print(f"[bold]$ kubectl apply -f examples/oxygen.yaml[/]    ({since(started)} after the start)")
    site.kubectl.apply(site.build_manifest(BUILD))
    console.print("[bold]$ bessemer watch oxygen[/]")
    watch = ["watch", BUILD, "--namespace", NAMESPACE, "--timeout", str(BUILD_SECONDS)]
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    code = subprocess.run([sys.executable, "-m", "bessemer", *watch], env=environment, check=False).returncode
    show_result(site)
    console.print(f"{since(started)} in all.")
    return code


def show_result(site: Site) -> None:
    """Show the object, Slurm's own view, the job's output and the duration of each step."""
    console.print("[bold]$ kubectl get clusterbuild[/]")
    console.print(site.kubectl.run("get", "clusterbuild"))
    build = site.get_build(BUILD)
    status = build.get("status", {})
    if status.get("jobs"):
        console.print("[bold]$ sinfo[/]    (on oxygen1)")
        console.print(site.lab.exec("oxygen1", ["sinfo"]))
    for job in status.get("jobs", []):
        console.print(
            f"[bold]Slurm job {job.get('jobId')} ({job['name']}): {job['state']} on {job.get('nodes', '')}[/]"
        )
        console.print(job.get("outputTail", ""))
    console.print(build_times(build))


def build_times(build: Resource) -> Table:
    """Return a table of the phases' durations."""
    table = Table("Phase", "State", "Attempt", "Seconds")
    for phase in build.get("status", {}).get("phases", []):
        begin, end = phase.get("startTime"), phase.get("endTime")
        seconds = f"{(parse_time(end) - parse_time(begin)).total_seconds():.0f}" if begin and end else ""
        table.add_row(phase["name"], phase["state"], str(phase.get("attempt", "")), seconds)
    return table


def parse_time(text: str) -> datetime:
    """Return a Kubernetes timestamp as a datetime."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def since(started: float) -> str:
    """Return how long ago something was, in minutes and seconds."""
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    return f"{minutes} min {seconds:02} s"


@contextmanager
def step(text: str) -> Iterator[None]:
    """Print a step and its duration."""
    console.print(f"[bold]{text}[/] ...")
    started = time.monotonic()
    yield
    console.print(f"   {since(started)}")


def say_how_to_look(cluster: Cluster) -> None:
    """Print what can be done with what was left up."""
    path = f"{cluster.kubectl.parent}:{tool('helm').parent}"
    console.print(
        f"""
It is all still there. To look around:

  export KUBECONFIG={cluster.kubeconfig} PATH=$PWD/.venv/bin:{path}:$PATH
  kubectl --namespace {NAMESPACE} describe clusterbuild {BUILD}
  bessemer logs {BUILD} BootCompute --namespace {NAMESPACE}
  .venv/bin/rack --help                  (the rack: machines, power, consoles, faults)

To take it down:

  .venv/bin/local-kubernetes down {cluster.name}
""",
        markup=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    typer.run(main)
