"""Slurm in memory, for tests; behaves like the real one towards its callers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence

from bessemer.api.clusterbuild.verification import SlurmJob
from bessemer.machines.slurm import (
    OUTPUT_BYTES,
    JobState,
    JobUnknown,
    SlurmFailed,
    SlurmNode,
    build_several_jobs_error,
)
from bessemer.machines.ssh import SshFailure

TERMINATED = 15
"""The signal by which Slurm ends a job."""


@dataclasses.dataclass
class SubmittedJob:
    """A job that was submitted."""

    name: str
    state: JobState
    coming: list[JobState]
    """What the next looks show."""
    output: str | None
    """None once it was taken."""
    script: str


class FakeSlurm:
    """Nodes and jobs as scripted: each look takes the next state, and the last one stays.

    Args:
        nodes: what is listed, look by look; none where Slurm is not installed yet.
        jobs: by name, how jobs stand, look by look.
        output: what jobs write that are submitted from now on.
    """

    def __init__(
        self,
        nodes: Sequence[Sequence[SlurmNode]] = (),
        jobs: Mapping[str, Sequence[JobState]] | None = None,
        output: str = "",
    ) -> None:
        self.nodes = list(nodes)
        self.jobs = dict(jobs or {})
        self.output = output
        self.failure: SlurmFailed | SshFailure | None = None
        """What every call raises, such as the error of a controller that doesn't answer."""
        self.submitted: list[tuple[str, tuple[str, ...]]] = []
        self.cancelled: list[int] = []
        self.drained: list[tuple[tuple[str, ...], str]] = []
        self._submitted: dict[int, SubmittedJob] = {}

    def list_nodes(self) -> list[SlurmNode]:
        """List nodes; see Slurm."""
        self._answer()
        if not self.nodes:
            return []
        listed = self.nodes.pop(0) if len(self.nodes) > 1 else self.nodes[0]
        return [self._apply_drain(node) for node in listed]

    def submit(self, job: SlurmJob, hosts: Collection[str]) -> int:
        """Submit a job; see Slurm."""
        self._answer()
        for job_id, earlier in self._submitted.items():
            if earlier.name == job.name:
                self._end(job_id)
        if not job.script.startswith("#!"):
            raise SlurmFailed("sbatch: exit code 1: This does not look like a batch script")
        if "\r\n" in job.script:
            raise SlurmFailed("sbatch: exit code 1: Batch script contains DOS line breaks")
        if job.nodes == "All" or int(job.nodes) == len(hosts):  # only then Slurm is told their names
            self._check_known(hosts, "sbatch")
        self.submitted.append((job.name, tuple(hosts)))
        job_id = len(self.submitted)
        states = self.jobs[job.name]
        self._submitted[job_id] = SubmittedJob(job.name, states[0], list(states), self.output, job.script)
        return job_id

    def get_job(self, job_id: int) -> JobState:
        """Return how a job stands; see Slurm."""
        self._answer()
        job = self._submitted.get(job_id)
        if job is None:
            raise JobUnknown("squeue: exit code 1: Invalid job id specified")
        if re.search(r"^#SBATCH (.* )?(--array|hetjob)", job.script, re.MULTILINE):
            raise build_several_jobs_error(job.name)
        if job.coming:
            job.state = job.coming.pop(0)
        return job.state

    def cancel(self, job_id: int) -> None:
        """End a job; see Slurm."""
        self._answer()
        self.cancelled.append(job_id)
        if job_id in self._submitted:
            self._end(job_id)

    def take_output(self, job_id: int, host: str) -> str:
        """Return a job's output once; see Slurm."""
        self._answer()
        job = self._submitted.get(job_id)
        if job is None or job.output is None or job.state.batch_host != host:
            raise SlurmFailed(f"output of job {job_id} on {host}: exit code 1: No such file or directory")
        output, job.output = job.output, None
        return output.encode()[-OUTPUT_BYTES:].decode(errors="replace")

    def drain(self, hosts: Collection[str], reason: str) -> None:
        """Drain hosts; see Slurm."""
        self._answer()
        self.drained.append((tuple(hosts), reason))  # real Slurm too drains those that it knows
        self._check_known(hosts, "scontrol")

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _check_known(self, hosts: Collection[str], command: str) -> None:
        known = {node.host for listed in self.nodes for node in listed}
        if not set(hosts) <= known:
            raise SlurmFailed(f"{command}: exit code 1: Invalid node name specified")

    def _end(self, job_id: int) -> None:
        job = self._submitted[job_id]
        if not job.state.final:
            ended_by = TERMINATED if job.state.batch_host else 0
            job.state = dataclasses.replace(job.state, state="CANCELLED", exit_code=0, signal=ended_by)
            job.coming = []

    def _apply_drain(self, node: SlurmNode) -> SlurmNode:
        reasons = [reason for hosts, reason in self.drained if node.host in hosts]
        if not reasons or node.withdrawn:
            return node
        return SlurmNode(node.host, "draining" if node.busy else "drained", reasons[-1])
