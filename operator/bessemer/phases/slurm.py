"""The door to Slurm: its commands on the management node, over SSH.

Jobs write to a file on the first of their nodes, because a shared home is not taken for granted; it is read from there
and removed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from bessemer.clusterbuild.verification import SlurmJob
from bessemer.errors import Invalid, Retry
from bessemer.phases.hostlists import build_slurm_hostlist
from bessemer.phases.machines import SshTarget
from bessemer.phases.ssh import CommandResult, Ssh

OUTPUT_DIRECTORY = "/tmp"  # noqa: S108  on compute nodes: the one folder that every system lets jobs write to
OUTPUT_BYTES = 1 << 20
"""The end of a job's output that is read; what it prints before is not looked at."""
JOB_PREFIX = "bessemer-"
USABLE_STATES = frozenset({"idle", "mixed", "allocated", "completing"})
"""A mark such as * behind the state means that the node doesn't answer. Source: https://slurm.schedmd.com/sinfo.html"""
BUSY_STATES = ("mixed", "allocated", "completing", "draining")
FINAL_STATES = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
        *("OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT", "REVOKED"),
    }
)
"""States that a job doesn't leave. Source: https://slurm.schedmd.com/job_state_codes.html"""


class SlurmFailed(Retry):
    """A command of Slurm failed."""

    def __init__(self, message: str) -> None:
        super().__init__("SlurmFailed", message)


@dataclass(frozen=True)
class SlurmNode:
    """A node as Slurm sees it."""

    host: str
    state: str
    """Such as idle or down*."""
    reason: str = ""
    """Why it is not in service."""

    @property
    def usable(self) -> bool:
        """Whether jobs can run on it, now or after the present ones."""
        return self.state.rstrip("+-") in USABLE_STATES

    @property
    def busy(self) -> bool:
        """Whether jobs run on it; on one that doesn't answer none are waited for."""
        return not self.state.endswith("*") and self.state.startswith(BUSY_STATES)

    @property
    def withdrawn(self) -> bool:
        """Whether somebody or Slurm itself took it out of service already."""
        return self.state.startswith(("down", "drain", "fail"))


@dataclass(frozen=True)
class JobState:
    """How a job stands."""

    state: str
    exit_code: int
    nodes: str
    """Hostlist; empty while it waits."""
    batch_host: str
    """The node on which its script and its output are; empty while it waits."""
    reason: str = ""
    signal: int = 0
    """The signal that ended its script, whose exit code is 0 then; 0 if none did."""

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.state in FINAL_STATES


class Slurm(Protocol):
    """Runs jobs and looks after nodes.

    Raises (all methods): SlurmFailed, SshFailure.
    """

    def list_nodes(self) -> list[SlurmNode]:
        """List all nodes; none where Slurm is not installed yet."""
        ...

    def submit(self, job: SlurmJob, hosts: Collection[str]) -> int:
        """Submit a job to some of the hosts, or to all of them; earlier ones of the same name are ended first."""
        ...

    def get_job(self, job_id: int) -> JobState:
        """Tell how a job stands.

        Raises:
            Invalid: its script asked for several jobs.
        """
        ...

    def cancel(self, job_id: int) -> None:
        """End a job; one that has ended already stays as it is."""
        ...

    def take_output(self, job_id: int, host: str) -> str:
        """Read the end of a job's output and remove it."""
        ...

    def drain(self, hosts: Collection[str], reason: str) -> None:
        """Let no further job start on hosts."""
        ...


class SshSlurm:
    """Slurm by its commands on the management node."""

    def __init__(self, ssh: Ssh, management: SshTarget, computes: Mapping[str, SshTarget]) -> None:
        self._ssh = ssh
        self._management = management
        self._computes = computes

    def list_nodes(self) -> list[SlurmNode]:
        """List nodes; see Slurm."""
        if self._ssh.run(self._management, "command -v sinfo").exit_code != 0:
            return []
        return parse_nodes(self._run(["sinfo", "--noheader", "--Node", "--format=%N|%T|%E"]))

    def submit(self, job: SlurmJob, hosts: Collection[str]) -> int:
        """Submit a job; see Slurm."""
        self._run(["scancel", "--quiet", f"--name={JOB_PREFIX}{job.name}"])
        said = self._run(build_submission(job, hosts), job.script.encode())
        try:
            return int(said.strip().split(";")[0])
        except ValueError as error:
            raise SlurmFailed(f"sbatch gave no number of a job, but {said.strip()[:200]!r}") from error

    def get_job(self, job_id: int) -> JobState:
        """Tell how a job stands; see Slurm."""
        return parse_job(self._run(["scontrol", "show", "job", "--oneliner", str(job_id)]))

    def cancel(self, job_id: int) -> None:
        """End a job; see Slurm."""
        self._run(["scancel", "--quiet", str(job_id)])

    def take_output(self, job_id: int, host: str) -> str:
        """Read and remove a job's output; see Slurm."""
        target = self._computes.get(host)
        if target is None:
            raise SlurmFailed(f"job {job_id} ran on {host}, which is none of the build's nodes")
        file = shlex.quote(build_output_file(str(job_id)))
        result = self._ssh.run(target, f"tail -c {OUTPUT_BYTES} {file} && rm -f {file}")
        if result.exit_code != 0:
            raise SlurmFailed(f"output of job {job_id} on {host}: {_say(result)}")
        return result.stdout

    def drain(self, hosts: Collection[str], reason: str) -> None:
        """Drain hosts; see Slurm."""
        self._run(["scontrol", "update", f"NodeName={build_slurm_hostlist(hosts)}", "State=DRAIN", f"Reason={reason}"])

    def _run(self, arguments: list[str], stdin: bytes = b"") -> str:
        result = self._ssh.run(self._management, shlex.join(arguments), stdin)
        if result.exit_code != 0:
            raise SlurmFailed(f"{arguments[0]}: {_say(result)}")
        return result.stdout


def build_output_file(job_id: str) -> str:
    """Name the file that a job writes to, on its first node."""
    return f"{OUTPUT_DIRECTORY}/{JOB_PREFIX}{job_id}.out"


def build_submission(job: SlurmJob, hosts: Collection[str]) -> list[str]:
    """Build the command that submits a job. Source: https://slurm.schedmd.com/sbatch.html

    Slurm counts time limits in whole minutes; who waits for the job has the limit in seconds.
    """
    count = len(hosts) if job.nodes == "All" else int(job.nodes)
    where = [f"--nodelist={build_slurm_hostlist(hosts)}"] if count == len(hosts) else []
    return [
        "sbatch",
        "--parsable",
        "--no-requeue",
        f"--job-name={JOB_PREFIX}{job.name}",
        f"--nodes={count}",
        *where,
        f"--time={-(-job.time_limit_seconds // 60)}",
        f"--chdir={OUTPUT_DIRECTORY}",
        f"--output={build_output_file('%j')}",
        f"--error={build_output_file('%j')}",
        "--open-mode=truncate",
    ]


def parse_nodes(text: str) -> list[SlurmNode]:
    """Read ``name|state|reason`` lines; a node stands there once for each of its partitions."""
    nodes: dict[str, SlurmNode] = {}
    for line in text.splitlines():
        host, _, rest = line.strip().partition("|")
        state, _, reason = rest.partition("|")
        if host:
            nodes[host] = SlurmNode(host, state, "" if reason == "none" else reason)
    return list(nodes.values())


def parse_job(text: str) -> JobState:
    """Read what ``scontrol show job --oneliner`` says.

    Raises:
        Invalid: it is several jobs.
        SlurmFailed: it says something else.
    """
    if len(text.strip().splitlines()) > 1:
        name = re.search(rf"JobName={JOB_PREFIX}(\S+)", text)
        raise build_several_jobs_error(name[1] if name else "")
    fields = dict(re.findall(r"(?:^|\s)([A-Za-z]\w*)=(\S*)", text))
    exit_code, _, signal = fields.get("ExitCode", "").partition(":")
    if not {"JobState", "NodeList"} <= fields.keys() or not (exit_code.isdigit() and signal.isdigit()):
        raise SlurmFailed(f"scontrol didn't tell the state of the job, but {text.strip()[:200]!r}")
    nodes = "" if fields["NodeList"] in ("(null)", "None") else fields["NodeList"]
    reason = "" if fields.get("Reason") in (None, "None") else fields["Reason"]
    return JobState(fields["JobState"], int(exit_code), nodes, fields.get("BatchHost", ""), reason, int(signal))


def build_several_jobs_error(name: str) -> Invalid:
    """Build the error of a job that is several, of which no single state could be told."""
    return Invalid(
        "InvalidJob", f"spec.verify.jobs[{name}].script: it must be one job, without #SBATCH --array or hetjob"
    )


def _say(result: CommandResult) -> str:
    said = " ".join((result.stderr or result.stdout).split())
    return f"exit code {result.exit_code}: {said[:300]}"
