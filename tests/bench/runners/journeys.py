"""Where the time of one job went, from GitLab's webhook to the first line of its script. Pure.

GitLab's side are the simulator's own notes, the pod's are a watch's. When the container started, and when the script's
first command ran, the job says itself: a container's start is that of its process 1 (proc_pid_stat(5), starttime),
which has a resolution of 10 ms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.bench.runners.observations import PodObservation

SCRIPT = """echo "began $(date +%s.%N) $(cut -d' ' -f22 /proc/1/stat) $(cut -d' ' -f1 /proc/uptime)\""""
"""The whole script of a job that is measured."""
TICKS = 100
"""Clock ticks a second in /proc, on all that Linux runs on (sysconf(_SC_CLK_TCK))."""
_BEGAN = re.compile(r"began (\d+\.\d+) (\d+) (\d+\.\d+)")
COLD = ("webhook", "pod created", "scheduled", "container started", "claimed", "first line")
WARM = ("webhook", "sent", "claimed", "first line")
MANAGER = ("webhook", "claimed", "pod created", "scheduled", "container started", "first line")
"""The marks of a job's way in their order."""


@dataclass(frozen=True)
class Journey:
    """One job, with its marks in seconds since 1970."""

    job: int
    marks: Mapping[str, float]
    finished: float
    """When GitLab was told that the job is over."""
    ended: float | None
    """When Kubernetes said so of the container that ran it."""
    gone: float | None
    """When pod and manager were gone; None where one stays."""

    def compute_split(self, order: Sequence[str]) -> list[float]:
        """Return the seconds between each mark and the next."""
        return [self.marks[after] - self.marks[before] for before, after in pairwise(order)]

    @property
    def to_first_line(self) -> float:
        """Seconds from the webhook to the first command of the script."""
        return self.marks["first line"] - self.marks["webhook"]

    @property
    def to_end(self) -> float:
        """Seconds from the webhook until GitLab was told that the job is over."""
        return self.finished - self.marks["webhook"]

    @property
    def to_ended(self) -> float:
        """Seconds from the end of the job until Kubernetes said so of its container.

        Raises ValueError where it never did.
        """
        if self.ended is None:
            raise ValueError(f"job {self.job}: its container has not ended")
        return self.ended - self.finished

    @property
    def to_gone(self) -> float:
        """Seconds from the end of the job until pod and manager were gone. Raises ValueError where one stays."""
        if self.gone is None:
            raise ValueError(f"job {self.job}: its pod or its manager has not gone")
        return self.gone - self.finished


def compute_journey(
    job: Mapping[str, Any], webhook: float, pod: PodObservation, forgotten: Iterable[tuple[str, float]]
) -> Journey:
    """Put together what is known of a job.

    Args:
        job: as the simulator's control API gives it.
        webhook: when the simulator sent the event that it waits.
        pod: the pod that was sent or made for it.
        forgotten: the managers of its runner that were deleted, by system_id, each with when.

    Raises:
        ValueError: the job did not succeed, or said not what it should.

    """
    began = _BEGAN.search(job["trace"])
    if job["status"] != "success" or began is None:
        raise ValueError(f"job {job['id']}: {job['status']}, {job['failure_reason']}, log: {job['trace'][-500:]}")
    line, start, uptime = (float(number) for number in began.groups())
    marks = {
        "webhook": webhook,
        "pod created": pod.created,
        "sent": pod.sent,
        "scheduled": pod.scheduled,
        "container started": line - (uptime - start / TICKS),
        "claimed": job["started_at"],
        "first line": line,
    }
    known = {name: when for name, when in marks.items() if when is not None}
    ends = [when for system_id, when in forgotten if system_id == job["system_id"] and when >= job["started_at"]]
    gone = max(pod.gone, min(ends)) if ends and pod.gone is not None else None
    return Journey(job["id"], known, job["finished_at"], pod.ended, gone)


def find_webhooks(deliveries: Iterable[Mapping[str, Any]]) -> dict[int, float]:
    """Return when the events that jobs wait were sent, by job; the first, where there are several."""
    found: dict[int, float] = {}
    for delivery in deliveries:
        event = json.loads(delivery["body"])
        if event["build_status"] == "pending":
            found.setdefault(event["build_id"], delivery["at"])
    return found
