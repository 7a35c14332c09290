"""A management node with Slurm behind SSH: what its commands do and print, in virtual time."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

from bessemer.machines.machine import SshTarget
from bessemer.machines.ssh import CommandResult
from tests.unit.phases.cluster_fakes import VirtualClock


@dataclass
class HostJob:
    """A job that was submitted: it ends after some time, well, and then its output lies on its first node."""

    nodes: tuple[str, ...]
    ends: float
    cancelled: bool = False
    taken: bool = False


@dataclass
class SlurmHost:
    """Stands for the SSH of the build's machines.

    ``disturb`` is given each call as a function and may let it happen or not, and return or raise something else.
    """

    clock: VirtualClock
    states: dict[str, str]
    """Nodes and their states, such as ``idle*``."""
    job_seconds: float = 5.0
    disturb: Callable[[Callable[[], CommandResult]], CommandResult] = lambda call: call()
    jobs: dict[int, HostJob] = field(default_factory=dict)
    drained: set[str] = field(default_factory=set)

    def run(self, target: SshTarget, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> CommandResult:
        """Run a command; see Ssh."""
        assert timeout_seconds == 60, "what is disturbed takes no longer"
        return self.disturb(lambda: self._run(target, command, stdin))

    def close(self) -> None:
        """Close nothing; see Ssh."""

    def _run(self, target: SshTarget, command: str, stdin: bytes) -> CommandResult:
        assert isinstance(stdin, bytes)
        if command.startswith("if "):
            return self._take_output(target, command)
        words = shlex.split(command.rpartition("; ")[2])
        match words[0]:
            case "sinfo":
                form = next(word for word in words if word.startswith("--format=")).removeprefix("--format=")
                said = "".join(self._show_node(form, host) + "\n" for host in self.states)
            case "sbatch":
                said = f"{self._submit(words)}\n"
            case "squeue":
                said = self._show_job(words)
            case "scancel":
                said = self._cancel(words[-1])
            case "scontrol":
                self.drained |= set(self.states) & set(_unfold(words[2].removeprefix("NodeName=")))
                said = ""
            case _:
                raise AssertionError(command)
        return CommandResult(0, said, "")

    def _show_node(self, form: str, host: str) -> str:
        state = "drained" if host in self.drained else self.states[host]
        reason = "Not responding" if state.endswith("*") else "none"
        return form.replace("%N", host).replace("%T", state).replace("%E", reason)

    def _submit(self, words: list[str]) -> int:
        count = int(next(word for word in words if word.startswith("--nodes=")).removeprefix("--nodes="))
        nodes = tuple(host for host, state in self.states.items() if state == "idle")[:count]
        self.jobs[len(self.jobs) + 1] = HostJob(nodes, self.clock.now() + self.job_seconds)
        return len(self.jobs)

    def _show_job(self, words: list[str]) -> str:
        job_id = int(next(word for word in words if word.startswith("--jobs=")).removeprefix("--jobs="))
        mark = re.sub(r"^.*\|", "", words[-1])
        job = self.jobs[job_id]
        state = "CANCELLED" if job.cancelled else "COMPLETED" if self.clock.now() >= job.ends else "RUNNING"
        fields = (str(job_id), state, "0", job.nodes[0], ",".join(job.nodes), "None")
        return "".join(f"{value:<40}|" for value in fields) + mark + "\n"

    def _cancel(self, last: str) -> str:
        job = self.jobs.get(int(last)) if last.isdigit() else None
        if job is not None and self.clock.now() < job.ends:
            job.cancelled = True
        return ""

    def _take_output(self, target: SshTarget, command: str) -> CommandResult:
        found = re.search(r"bessemer-([0-9]+)\.out", command)
        job = self.jobs.get(int(found[1])) if found else None
        if job is None or job.taken or target.name != job.nodes[0]:
            return CommandResult(1, "", "No such file")
        job.taken = True
        return CommandResult(0, "".join(f"{node}\n" for node in job.nodes), "")


def _unfold(hostlist: str) -> list[str]:
    return re.findall(r"[a-z]+[0-9]+", hostlist)
