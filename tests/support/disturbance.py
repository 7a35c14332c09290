"""Deliberate disturbances of a build: the operator is killed, phases are found while they run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from local_kubernetes.kubectl import Kubectl, Resource
from tests.support.site import Site

OPERATOR_SECONDS = 120
"""Seconds for a killed operator's pod to be replaced by a running one."""


def phase_pods(site: Site, *phases: str) -> list[Resource]:
    """Return the pods of phases; of all where none is named."""
    selector = f"bessemer.dev/phase in ({','.join(phases)})" if phases else "bessemer.dev/phase"
    return site.kubectl.items("pods", "--selector", selector)


def find_under_way(site: Site, phase: str, passed_over: str = "") -> Resource | None:
    """Return the pod of a phase that has not finished, except the one named ``passed_over``."""
    return next(
        (
            pod
            for pod in phase_pods(site, phase)
            if pod["status"].get("phase") in {"Pending", "Running"} and pod["metadata"]["name"] != passed_over
        ),
        None,
    )


def find_running(site: Site, phase: str, passed_over: str = "") -> Resource | None:
    """Return the running pod of a phase."""
    pod = find_under_way(site, phase, passed_over)
    return pod if pod and pod["status"]["phase"] == "Running" else None


class WithOperator(Protocol):
    """A place where an operator runs."""

    @property
    def system(self) -> Kubectl:
        """kubectl in the operator's namespace."""

    def explain(self) -> str:
        """Return how things stand."""


def kill_operator(site: WithOperator) -> None:
    """Send SIGKILL to the operator's process, then replace its pod: the kubelet's back-off grows with each kill."""
    name, pids = site.system.wait_for(
        "the operator to run", partial(find_operator, site), OPERATOR_SECONDS, site.explain
    )
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    site.system.run("delete", "pod", name, "--wait=false")


@contextmanager
def stopped_operator(site: WithOperator) -> Iterator[None]:
    """Stop the operator's process, and continue it after the block, which must be shorter than its Lease."""
    _, pids = site.system.wait_for("the operator to run", partial(find_operator, site), OPERATOR_SECONDS, site.explain)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def find_operator(site: WithOperator) -> tuple[str, list[int]] | None:
    """Return the name of the operator's pod and the processes as seen on the node's host."""
    for pod in site.system.items("pods"):
        metadata = pod["metadata"]
        if "deletionTimestamp" not in metadata:
            groups = Path("/proc").glob("[0-9]*/cgroup")
            pids = [int(path.parent.name) for path in groups if is_operator(path, metadata["uid"])]
            return (metadata["name"], pids) if pids else None
    return None


def is_operator(cgroup: Path, uid: str) -> bool:
    """Return whether a process belongs to the pod and is the operator's, not the sandbox's."""
    try:
        return uid in cgroup.read_text() and b"bessemer" in (cgroup.parent / "cmdline").read_bytes()
    except OSError:
        return False  # it has ended since it was listed
