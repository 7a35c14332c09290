"""The client of Slurm: its commands on the management node, over SSH.

Of nodes and jobs only fields are asked for that Slurm itself fills; what users may write (comments, job names, paths)
is not asked for at all, so that it can't be taken for a field. The one free text, the reason of a node's state, comes
last, and records are told apart by a random mark that no text can hold. ``--json`` is no way: in Slurm 22.05 scontrol
doesn't have it and squeue prints all jobs of the cluster with it, and its form differs from release to release; sacct
needs accounting, which a cluster may not have.

Jobs write to a file on the first of their nodes, because a shared home is not taken for granted; it is read from there
and removed.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from bessemer.api.clusterbuild.verification import SlurmJob
from bessemer.api.reasons import INVALID_JOB
from bessemer.errors import Invalid, Retry
from bessemer.foreign import Unreadable, make_line, parse_int
from bessemer.machines.hostlists import build_slurm_hostlist
from bessemer.machines.machine import SshTarget
from bessemer.machines.slurm_submission import JOB_PREFIX, build_output_file, build_submission
from bessemer.machines.ssh import CommandResult, Ssh

OUTPUT_BYTES = 1 << 20
"""The end of a job's output that is read; what it prints before is not looked at."""
USABLE_STATES = frozenset({"idle", "mixed", "allocated", "completing", "planned", "reserved", "maint"})
"""States of nodes that are in service: a node may be planned for a job, or reserved, and works. A mark such as * behind
the state means that it doesn't answer. Source: https://slurm.schedmd.com/sinfo.html"""
BUSY_STATES = ("mixed", "allocated", "completing", "draining")
FINAL_STATES = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
        *("OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT", "REVOKED"),
    }
)
"""States that a job doesn't leave. Source: https://slurm.schedmd.com/job_state_codes.html"""
JOB_FIELDS = (
    *("JobArrayID:64|", "State:32|", "exit_code:32|", "BatchHost:256|", "NodeList:70000|"),
    "Reason:512|",
)
"""What squeue is asked for, with the width of each; no longer list of nodes than 1024 unfolded names.
Source: https://slurm.schedmd.com/squeue.html#OPT_Format"""
NO_VALUE = ("", "n/a", "(null)", "None")
UNKNOWN_JOB = "Invalid job id"
"""What Slurm says of a job that it has never had, or has forgotten: MinJobAge (300 s) after its end."""
NOT_INSTALLED = 44
"""Our exit code for that; no shell, signal or command of Slurm has it."""
REASON_CHARACTERS = 256


class SlurmFailed(Retry):
    """A command of Slurm failed."""

    def __init__(self, message: str) -> None:
        super().__init__("SlurmFailed", message)


class JobUnknown(SlurmFailed):
    """Slurm has no such job any more; how it ended is not known."""


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
        return self.state.rstrip("+-$") in USABLE_STATES

    @property
    def busy(self) -> bool:
        """Whether jobs run on it; on one that doesn't answer none are waited for."""
        return not self.state.endswith("*") and self.state.startswith(BUSY_STATES)

    @property
    def withdrawn(self) -> bool:
        """Whether an administrator or Slurm itself has already taken it out of service."""
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
        """Return how a job stands.

        Raises:
            Invalid: its script asked for several jobs.
            JobUnknown: Slurm has forgotten it.
        """
        ...

    def cancel(self, job_id: int) -> None:
        """End a job; one that has ended already stays as it is."""
        ...

    def take_output(self, job_id: int, host: str) -> str:
        """Read the end of a job's output and remove it, with those that were left behind there."""
        ...

    def drain(self, hosts: Collection[str], reason: str) -> None:
        """Drain hosts: no further job starts on them."""
        ...


class SshSlurm:
    """Slurm by its commands on the management node."""

    def __init__(self, ssh: Ssh, management: SshTarget, computes: Mapping[str, SshTarget]) -> None:
        self._ssh = ssh
        self._management = management
        self._computes = computes
        self._names: dict[int, str] = {}

    def list_nodes(self) -> list[SlurmNode]:
        """List nodes; see Slurm."""
        mark = secrets.token_hex(16)
        command = shlex.join(["sinfo", "--noheader", "--Node", f"--format=%N|%T|%E{mark}"])
        check = f"command -v sinfo >/dev/null || exit {NOT_INSTALLED}"
        result = self._ssh.run(self._management, f"{check}; {command}")
        if result.exit_code not in (0, NOT_INSTALLED):
            raise SlurmFailed(f"sinfo: {_say(result)}")
        return [] if result.exit_code else parse_nodes(result.stdout, mark)

    def submit(self, job: SlurmJob, hosts: Collection[str]) -> int:
        """Submit a job; see Slurm."""
        self._run(["scancel", "--quiet", f"--user={self._management.user}", f"--name={JOB_PREFIX}{job.name}"])
        said = self._run(build_submission(job, hosts), job.script.encode())
        try:
            job_id = parse_int(said.strip().partition(";")[0], least=1)
        except Unreadable as error:
            raise SlurmFailed(f"sbatch gave no number of a job, but {make_line(said, 200)!r}") from error
        self._names[job_id] = job.name
        return job_id

    def get_job(self, job_id: int) -> JobState:
        """Return how a job stands; see Slurm."""
        mark = secrets.token_hex(16)
        fields = ",".join(JOB_FIELDS) + mark
        command = ["squeue", "--noheader", "--states=all", f"--jobs={job_id}", f"--Format={fields}"]
        result = self._ssh.run(self._management, shlex.join(command))
        if result.exit_code != 0:
            kind = JobUnknown if UNKNOWN_JOB in result.stderr else SlurmFailed
            raise kind(f"squeue: {_say(result)}")
        return parse_job(result.stdout, mark, job_id, self._names.get(job_id, ""))

    def cancel(self, job_id: int) -> None:
        """End a job; see Slurm."""
        self._run(["scancel", "--quiet", str(job_id)])

    def take_output(self, job_id: int, host: str) -> str:
        """Read and remove a job's output; see Slurm."""
        target = self._computes.get(host)
        if target is None:
            raise SlurmFailed(f"job {job_id} ran on {host}, which is none of the build's nodes")
        file, all_files = build_output_file(str(job_id)), build_output_file("*")
        check = f"if [ ! -f {file} ] || [ -L {file} ]; then echo No such file >&2; exit 1; fi"
        result = self._ssh.run(target, f"{check}; tail -c {OUTPUT_BYTES} {file} && rm -f {all_files}")
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


def parse_nodes(text: str, mark: str) -> list[SlurmNode]:
    """Read ``name|state|reason`` and the mark, line by line; a node stands there once for each of its partitions.

    Raises SlurmFailed where it is anything else: half of a record must not be taken for a state.
    """
    *records, rest = text.split(mark)
    fields = [record.removeprefix("\n").split("|", 2) for record in records]
    if rest.strip() or any(len(record) < 3 for record in fields):
        raise SlurmFailed(f"sinfo didn't tell the states of the nodes, but {make_line(text, 200)!r}")
    nodes: dict[str, SlurmNode] = {}
    for host, state, reason in fields:
        said = make_line(reason, REASON_CHARACTERS)
        nodes[host] = SlurmNode(make_line(host, 64), make_line(state, 64), "" if said == "none" else said)
    return list(nodes.values())


def parse_job(text: str, mark: str, job_id: int, name: str) -> JobState:
    """Read what squeue says of a job: fields that end in ``|``, and the mark.

    Raises:
        Invalid: it is several jobs.
        JobUnknown: there is none.
        SlurmFailed: it is something else.
    """
    records = text.split(mark)[:-1]
    if not records and not text.strip():
        raise JobUnknown(f"squeue: {UNKNOWN_JOB}: it says nothing of job {job_id}")
    fields = [field.strip() for field in records[0].split("|", len(JOB_FIELDS) - 1)] if records else []
    if len(records) > 1 or (fields and re.match(rf"{job_id}[_+]", fields[0])):
        raise build_several_jobs_error(name)
    try:
        own_id, state, status, batch_host, nodes, reason = fields
        exit_code, signal = _parse_status(status)
        if own_id != str(job_id) or not re.fullmatch(r"[A-Z_]+", state):
            raise Unreadable("another job, or no state")
    except ValueError as error:
        raise SlurmFailed(f"squeue didn't tell the state of the job, but {make_line(text, 200)!r}") from error
    known = ["" if value in NO_VALUE else value for value in (nodes, batch_host, reason.removesuffix("|").rstrip())]
    return JobState(state, exit_code, known[0], make_line(known[1], 64), make_line(known[2], REASON_CHARACTERS), signal)


def _parse_status(status: str) -> tuple[int, int]:
    """Return exit code and signal of a wait status, such as 768 (3, 0) and 11 (0, 11), or of ``3:0``."""
    code, colon, signal = status.partition(":")
    if colon:
        return parse_int(code, most=255), parse_int(signal, most=127)
    number = parse_int(status, most=2**32)
    return number >> 8 & 0xFF, number & 0x7F


def build_several_jobs_error(name: str) -> Invalid:
    """Build the error of a job that is several, of which no single state could be told."""
    return Invalid(
        INVALID_JOB, f"spec.verify.jobs[{name}].script: it must be one job, without #SBATCH --array or hetjob"
    )


def _say(result: CommandResult) -> str:
    said = " ".join((result.stderr or result.stdout).split())
    return f"exit code {result.exit_code}: {make_line(said, 300)}"
