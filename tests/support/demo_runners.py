"""``make demo-runners``: a Kubernetes, Bessemer, a GitLab simulator, one pool, twenty jobs: 0 -> 20 -> 0 pods, live.

Jobs run by GitLab's own runner in real pods. Run with ``--keep`` it leaves everything up, with the simulator's page and
its button.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.table import Table

from tests.support.cluster.binaries.tools import tool
from tests.support.cluster.choice import open_cluster
from tests.support.cluster.errors import ClusterError
from tests.support.cluster.protocol import Cluster
from tests.support.demo import console, since, step
from tests.support.gitlab_pod import SERVICE
from tests.support.runners import PROJECT, Runners, open_runners
from tests.support.site import install_bessemer

NAME = "demo-runners"
POOL = "simulations"
JOB_SECONDS = 8
END_SECONDS = 300
"""For all jobs to end, and their pods to go: several times what it takes."""
NOTHING = "0 jobs wait; pods: 0 run, 0 start, 0 idle"


def main(
    keep: Annotated[bool, typer.Option(help="Leave cluster, GitLab and pool up afterwards.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=100, help="How many jobs are run.")] = 20,
) -> None:
    """Run jobs on pods that exist only while there is work, before your eyes."""
    started = time.monotonic()
    try:
        cluster = open_cluster(NAME, kept=keep)
        try:
            with step("Installing Bessemer with Helm"):
                install_bessemer(cluster)
            with step("Putting up a GitLab simulator"), open_site(cluster, keep=keep) as runners:
                show(cluster, runners, jobs)
                if keep:
                    say_how_to_look(cluster, runners)
            console.print(f"{since(started)} in all.")
        finally:
            if not keep:
                with step("Taking it all down"):
                    cluster.down()
    except ClusterError as error:
        console.print(f"[red]{error}")
        raise SystemExit(1) from error


@contextmanager
def open_site(cluster: Cluster, *, keep: bool) -> Iterator[Runners]:
    """Give the namespace with the simulator; left as it is where it is to be kept."""
    context = open_runners(cluster)
    runners = context.__enter__()
    yield runners
    if not keep:
        context.__exit__(None, None, None)


def show(cluster: Cluster, runners: Runners, count: int) -> None:
    """Apply the pool, run the jobs, watch until no pod is left, and lay out the times."""
    console.print(f"[bold]$ kubectl apply -f pool.yaml[/]    (RunnerPool {POOL}, min 0, max {count})")
    runners.apply_pool(POOL, ["hpc"], max=count)
    console.print(f"[bold]$ bessemer watch rp/{POOL}[/]    # runs, + starts, . waits")
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PYTHONUNBUFFERED": "1"}
    arguments = ["watch", f"rp/{POOL}", "--namespace", runners.kubectl.namespace, "--timeout", str(END_SECONDS)]
    with subprocess.Popen(
        [sys.executable, "-m", "bessemer", *arguments], env=environment, stdout=subprocess.PIPE, text=True
    ) as watch:
        script = [f"sleep {JOB_SECONDS}"]
        jobs = [{"name": f"job {number + 1}", "tags": ["hpc"], "script": script} for number in range(count)]
        numbers = runners.gitlab.run_jobs(PROJECT, *jobs)
        follow(watch)
        watch.terminate()
    done = runners.wait_for_jobs(numbers, END_SECONDS)
    runners.wait_until_empty(END_SECONDS)
    gone = time.time() - max(job["finished_at"] for job in done.values())
    table = Table("What", "Median", "Longest")
    for what, first, last in (
        ("job waits -> runner has it", "pending_at", "started_at"),
        ("job waits -> its first line", "pending_at", "first_trace_at"),
    ):
        times = sorted(job[last] - job[first] for job in done.values() if job[last])
        table.add_row(what, f"{times[len(times) // 2]:.1f} s", f"{times[-1]:.1f} s")
    table.add_row("last job ended -> no pod, no manager in GitLab", "", f"{gone:.1f} s")
    console.print(table)
    ran = sum(job["status"] == "success" and job["claims"] == 1 for job in done.values())
    console.print(f"{ran} of {count} jobs ran, each once.")


def follow(watch: subprocess.Popen[str]) -> None:
    """Show what the watch tells, until there were pods and none is left."""
    seen = False
    for line in watch.stdout or ():
        console.print(line.rstrip(), markup=False, soft_wrap=True)
        seen = seen or "|#" in line
        if seen and NOTHING in line:
            return


def say_how_to_look(cluster: Cluster, runners: Runners) -> None:
    """Say what can be done with what was left up."""
    path = f"{cluster.kubectl.parent}:{tool('helm').parent}"
    console.print(
        f"""
It is all still there. To look around:

  export KUBECONFIG={cluster.kubeconfig} PATH=$PWD/.venv/bin:{path}:$PATH
  kubectl --namespace {runners.kubectl.namespace} port-forward service/{SERVICE} 8929:80
  # and open http://127.0.0.1:8929/ : the jobs, and a button that runs more (tags: hpc)
  bessemer watch rp/{POOL} --namespace {runners.kubectl.namespace}

To take it down:

  .venv/bin/python -m tests.support.cluster down {cluster.name}
""",
        markup=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    typer.run(main)
