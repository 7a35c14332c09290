"""The operator as a process, and its own metrics, read through the API server."""

from __future__ import annotations

import re
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from local_kubernetes.kubectl import Kubectl
from tests.bench.timeline import compute_quantile

METRIC = "bessemer_handoff_seconds"
METRICS = "/api/v1/namespaces/{namespace}/services/{service}-internal:internal/proxy/metrics"
SERVICE = "bessemer"
"""The chart's Service and Deployment, named like the release."""
READ_STATUS = "print(open('/proc/1/status').read())"
READ_STAT = "print(open('/proc/1/stat').read())"
CLOCK_TICKS = 100
"""A second, on all that Linux runs on (sysconf(_SC_CLK_TCK))."""


@dataclass(frozen=True)
class Wakeups:
    """The operator's own view: from the wake-up to the creation of the phase pod that came of it, in seconds.

    The quantiles are estimated from the buckets of a histogram. It holds the first pod of each build, too, for which
    keys are made and machines claimed; it does not hold what passes before the operator hears of a pod's end.
    """

    count: int
    mean: float
    p50: float
    p99: float


@dataclass(frozen=True)
class OperatorMemory:
    """Memory of the operator's process in bytes, as /proc/PID/status has it (proc_pid_status(5))."""

    resident: int
    """VmRSS: now."""
    peak: int
    """VmHWM: the most it ever was."""


def get_wakeups(system: Kubectl) -> Wakeups | None:
    """Scrape the operator; None where it has started no pod."""
    text = system.run("get", "--raw", METRICS.format(namespace=system.namespace, service=SERVICE))
    return parse_wakeups(text)


def parse_wakeups(text: str) -> Wakeups | None:
    """Read the histogram from the text that Prometheus would scrape. Raises ValueError where it is missing."""
    family = next((found for found in text_string_to_metric_families(text) if found.name == METRIC), None)
    if family is None:
        raise ValueError(f"the operator has no metric {METRIC}")
    values = {sample.name: sample.value for sample in family.samples if "le" not in sample.labels}
    buckets = sorted((float(s.labels["le"]), s.value) for s in family.samples if s.name == f"{METRIC}_bucket")
    count = values[f"{METRIC}_count"]
    if not count:
        return None
    mean = values[f"{METRIC}_sum"] / count
    return Wakeups(int(count), mean, compute_quantile(buckets, 0.5), compute_quantile(buckets, 0.99))


def get_memory(system: Kubectl) -> OperatorMemory:
    """Read the memory of the operator's process, the first one in its pod."""
    return parse_memory(system.run("exec", f"deployment/{SERVICE}", "--", "python", "-c", READ_STATUS))


def parse_memory(status: str) -> OperatorMemory:
    """Read /proc/PID/status; its unit kB is 1024 bytes."""
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status, re.MULTILINE))
    return OperatorMemory(int(found["VmRSS"]) * 1024, int(found["VmHWM"]) * 1024)


def get_cpu_seconds(system: Kubectl) -> float:
    """Read how much processor time the operator's process has taken (proc_pid_stat(5): utime and stime)."""
    stat = system.run("exec", f"deployment/{SERVICE}", "--", "python", "-c", READ_STAT)
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
