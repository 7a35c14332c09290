"""``make demo-runners``: a Kubernetes, Bessemer, a GitLab simulator, one pool, twenty jobs: 0 -> 20 -> 0 pods, live.

GitLab's own runner runs the jobs in real pods. With ``--keep`` everything is left running, including the simulator's
page with its buttons.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Annotated, Any

import typer
from kubernetes.config import new_client_from_config
from rich.table import Table

from local_kubernetes.binaries.tools import tool
from local_kubernetes.choice import open_cluster
from local_kubernetes.errors import ClusterError
from local_kubernetes.kubectl import KubectlError
from local_kubernetes.protocol import Cluster
from tests.bench.builds import BenchError
from tests.bench.runners.journeys import find_webhooks
from tests.bench.runners.observations import PodObservation
from tests.bench.runners.watching import watch_pods
from tests.bench.timeline import compute_distribution
from tests.support.demo import console, since, step
from tests.support.gitlab_pod import SERVICE
from tests.support.runners import PROJECT, Runners, open_runners
from tests.support.site import install_bessemer

NAME = "demo-runners"
POOL = "simulations"
TAG = "hpc"
JOB_SECONDS = 8
END_SECONDS = 300
"""Timeout for all jobs to end and their pods to be removed: several times the usual duration."""
NOTHING = "0 pending; pods: 0 running, 0 starting, 0 idle"
Job = Mapping[str, Any]
"""A job as the simulator's control API returns it."""


def main(
    keep: Annotated[bool, typer.Option(help="Leave cluster, GitLab and pool up afterwards.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=100, help="How many jobs are run.")] = 20,
) -> None:
    """Run jobs on pods that exist only while there are jobs, and show each step."""
    started = time.monotonic()
    try:
        cluster = open_cluster(NAME, kept=keep)
        try:
            all_ran = present(cluster, jobs, keep=keep)
            console.print(f"{since(started)} in all.")
        finally:
            if not keep:
                with step("Taking it all down"):
                    cluster.down()
    except (BenchError, ClusterError, KubectlError, TimeoutError, subprocess.SubprocessError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        raise SystemExit(1) from None
    raise SystemExit(0 if all_ran else 1)


def present(cluster: Cluster, count: int, *, keep: bool) -> bool:
    """Start everything, show a pool at work, and print the times; return whether each job ran exactly once."""
    with step("Installing Bessemer with Helm"):
        install_bessemer(cluster)
    with ExitStack() as stack:
        with step("Putting up a GitLab simulator, with one project and a webhook"):
            runners = stack.enter_context(open_runners(cluster))
        if keep:
            stack.pop_all()  # nothing is removed
        console.print(f"[bold]$ kubectl apply -f pool.yaml[/]    (RunnerPool {POOL}, min 0, max {count})")
        runners.apply_pool(POOL, [TAG], max=count)
        client = new_client_from_config(str(cluster.kubeconfig))  # type: ignore[no-untyped-call]  # it has no types
        with watch_pods(client, runners.kubectl.namespace) as pods:
            numbers = show(cluster, runners, count)
            jobs = runners.wait_for_jobs(numbers, END_SECONDS)
            runners.wait_until_empty(END_SECONDS)
            pods.wait_until("the pods are seen to be gone", lambda seen: all(pod.gone for pod in seen if pod.job), 30)
            observations = [pod for pod in pods.list_observations() if pod.job in jobs]
        webhooks = find_webhooks(runners.gitlab.deliveries())
        forgotten = [when for runner in runners.gitlab.runners() for _, when in runner["forgotten"]]
        console.print(build_times(jobs, webhooks, observations, forgotten))
        ran = [number for number, job in jobs.items() if job["status"] == "success" and job["claims"] == 1]
        console.print(f"{len(ran)} of {count} jobs ran, each once, on {len(observations)} pods.")
        if keep:
            say_how_to_look(cluster, runners)
    return len(ran) == count


def show(cluster: Cluster, runners: Runners, count: int) -> list[int]:
    """Watch the pool, run jobs, and keep watching until no pod is left; return the numbers of the jobs."""
    console.print(f"[bold]$ bessemer watch rp/{POOL}[/]    (# runs a job, + starts)")
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PYTHONUNBUFFERED": "1"}
    arguments = ["watch", f"rp/{POOL}", "--namespace", runners.kubectl.namespace, "--timeout", str(END_SECONDS)]
    with subprocess.Popen(
        [sys.executable, "-m", "bessemer", *arguments], env=environment, stdout=subprocess.PIPE, text=True
    ) as watch:
        try:
            follow(watch, lambda line: NOTHING in line)
            console.print(f"[bold]Run {count}[/]    ({count} jobs of {JOB_SECONDS} s)")
            script = ["echo Hello from $(hostname)", f"sleep {JOB_SECONDS}"]
            jobs = [{"name": f"job {number + 1}", "tags": [TAG], "script": script} for number in range(count)]
            numbers = runners.gitlab.run_jobs(PROJECT, *jobs)
            follow(watch, lambda line: "|#" in line)
            follow(watch, lambda line: NOTHING in line)
        finally:
            watch.terminate()
    return numbers


def follow(watch: subprocess.Popen[str], is_enough: Callable[[str], bool]) -> None:
    """Show the output of the watch up to a certain line. Raises ClusterError if the line does not appear."""
    for line in watch.stdout or ():
        console.print(line.rstrip(), markup=False, soft_wrap=True)
        if is_enough(line):
            return
    raise ClusterError(f"bessemer watch ended too early, with exit code {watch.wait(10)}")


def build_times(
    jobs: Mapping[int, Job], webhooks: Mapping[int, float], pods: list[PodObservation], forgotten: list[float]
) -> Table:
    """Return a table of the measurements. All clocks are this machine's, unless the cluster is elsewhere."""
    table = Table("What", "Median", "p99", "All")
    per_job = {
        "webhook -> pod created": [pod.created - webhooks[pod.job] for pod in pods if pod.job],
        "webhook -> runner has the job": [job["started_at"] - webhooks[number] for number, job in jobs.items()],
        "webhook -> first line of the log": [
            job["first_trace_at"] - webhooks[number] for number, job in jobs.items() if job["first_trace_at"]
        ],
    }
    for what, samples in per_job.items():
        spread = compute_distribution(samples)
        table.add_row(what, f"{spread.p50:.2f} s", f"{spread.p99:.2f} s", "")
    first, last = min(webhooks[number] for number in jobs), max(job["finished_at"] for job in jobs.values())
    for what, seconds in (
        (f"first webhook -> {len(pods)} pods created", max(pod.created for pod in pods) - first),
        ("first webhook -> all jobs run", max(job["started_at"] for job in jobs.values()) - first),
        ("last job ended -> no pod", max(pod.gone or 0 for pod in pods) - last),
        ("last job ended -> no manager in GitLab", max(forgotten) - last),
    ):
        table.add_row(what, "", "", f"{seconds:.2f} s")
    return table


def say_how_to_look(cluster: Cluster, runners: Runners) -> None:
    """Print what can be done with what was left up."""
    path = f"{cluster.kubectl.parent}:{tool('helm').parent}"
    namespace = runners.kubectl.namespace
    console.print(
        f"""
It is all still there. To press the button yourself:

  export KUBECONFIG={cluster.kubeconfig} PATH=$PWD/.venv/bin:{path}:$PATH
  kubectl --namespace {namespace} port-forward service/{SERVICE} 8929:80 &
  # then open http://127.0.0.1:8929/ : the jobs, their logs, and buttons that run more (tags: {TAG})
  bessemer watch rp/{POOL} --namespace {namespace}

To take it down:

  .venv/bin/local-kubernetes down {cluster.name}
""",
        markup=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    typer.run(main)
