"""Whether a local cluster is well, and waiting until it is; a failure names the component and shows its log."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from local_kubernetes.errors import ClusterError
from local_kubernetes.kubectl import Kubectl
from local_kubernetes.local.pki import NODE_NAME
from local_kubernetes.local.registry import ClusterRecord
from local_kubernetes.waiting import wait_until

PROBE_SECONDS = 2
LOG_LINES = 15


def is_healthy(record: ClusterRecord) -> bool:
    """Return whether a cluster that was once ready runs and answers now."""
    alive = record.ready and record.get_outer_process() is not None and not list_ended(record)
    return alive and all(probe() for probe in build_probes(record).values())


def build_probes(record: ClusterRecord) -> dict[str, Callable[[], bool]]:
    """Return a check for each component that answers over HTTP, in the order in which they come up."""
    node = record.network.node_address
    return {
        "kube-apiserver": partial(answers, f"https://{node}:6443/readyz", record.directory / "pki" / "ca.crt"),
        "coredns": partial(answers, f"http://{node}:8181/ready"),
        "kube-proxy": partial(answers, f"http://{node}:10256/healthz"),
    }


def answers(url: str, authority: Path | None = None) -> bool:
    """Return whether a URL answers with 200."""
    context = ssl.create_default_context(cafile=str(authority)) if authority else None
    try:
        with urllib.request.urlopen(url, timeout=PROBE_SECONDS, context=context) as answer:  # noqa: S310 - our own URL
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_until_ready(record: ClusterRecord, kubectl: Kubectl) -> None:
    """Wait until pods can be made: every component answers, the node is ready, the default service account is there."""

    def exists(*words: str) -> bool:
        return kubectl.find(*words) is not None

    def node_is_ready() -> bool:
        node = kubectl.find("node", NODE_NAME)
        conditions = node["status"].get("conditions", []) if node else []
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

    conditions: list[tuple[str, Callable[[], bool], float]] = [
        (name, probe, 60) for name, probe in build_probes(record).items()
    ]
    conditions += [
        ("kube-controller-manager", partial(exists, "serviceaccount", "default"), 30),
        ("kube-controller-manager", partial(exists, "configmap", "kube-root-ca.crt"), 30),
        ("kubelet", node_is_ready, 60),
    ]
    for component, condition, seconds in conditions:
        wait_until(
            f"{component} of cluster {record.name} is ready",
            partial(check_alive, record, condition),
            seconds,
            partial(get_log_tail, record, component),
        )


def check_alive(record: ClusterRecord, condition: Callable[[], bool]) -> bool:
    """Evaluate the condition; raise ClusterError at once when a component has ended, instead of waiting in vain."""
    for component, code in list_ended(record):
        raise ClusterError(f"{component} ended with code {code}\n{get_log_tail(record, component)}")
    if record.get_outer_process() is None:
        raise ClusterError(f"process 1 of cluster {record.name} ended\n{get_log_tail(record, 'init')}")
    return condition()


def list_ended(record: ClusterRecord) -> list[tuple[str, str]]:
    """List the components that ended, with their exit codes, as init.sh wrote them down."""
    try:
        lines = (record.directory / "ended").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [(component, code) for component, _, code in (line.partition(" ") for line in lines)]


def get_log_tail(record: ClusterRecord, component: str) -> str:
    """Return the last lines of a component's log."""
    log = record.directory / "log" / f"{component}.log"
    if not log.exists() and component != "init":
        return f"{component} was not started\n{get_log_tail(record, 'init')}"
    return "\n".join([f"last lines of {log}:", *log.read_text(errors="replace").splitlines()[-LOG_LINES:]])
