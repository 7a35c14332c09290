"""How the finished cluster is proven to work: Slurm jobs and what must hold of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from pydantic import Field

from bessemer.api.base import ApiModel, cel, list_map
from bessemer.api.fields import DnsLabel, NodeCount

_INTERPRETER = re.compile(r"#![ \t]*/[^\s/]")
"""What Linux starts a script by. Source: https://man7.org/linux/man-pages/man2/execve.2.html#DESCRIPTION"""
_SEVERAL_JOBS = re.compile(r"-a.*|--arr?a?y?(=.*)?|hetjob|packjob")
"""An option of sbatch, also by the beginning of its name, that makes several jobs of one script."""


class Expectation(ApiModel):
    """What must hold of a finished Slurm job."""

    exit_code: int = Field(default=0, ge=0, le=255)
    """The job's exit code."""
    output: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        json_schema_extra=cel(
            (
                "'x'.matches(self) || !'x'.matches(self)",
                "must be a regular expression of RE2: without look-around and back-references",
            )
        ),
    )
    """A regular expression of RE2 (https://github.com/google/re2/wiki/Syntax) that must be found in the last MiB of the
    output; ^ and $ also match at the ends of lines. Control sequences of terminals may stand in between."""
    every_node: bool = False
    """Whether the host name of each of the job's nodes must stand in the output, as a word. A name of letters alone or
    of digits alone must stand on a line with nothing but host names, as srun hostname prints it."""


class SlurmJob(ApiModel):
    """One Slurm job that verifies the cluster."""

    name: DnsLabel
    """Its name, unique in the list."""
    script: str = Field(
        min_length=1,
        max_length=65536,
        json_schema_extra=cel(
            ("self.startsWith('#!')", "must begin with #! and the path of an interpreter, such as #!/bin/sh"),
            ("!self.contains('\\r\\n')", "must have line feeds alone at line ends, not carriage returns with them"),
        ),
    )
    """The batch script, with its first line (#!/bin/sh); one job, without #SBATCH --array or hetjob."""
    nodes: NodeCount = "All"
    """How many nodes it runs on, or All for every ready compute node."""
    time_limit_seconds: int = Field(default=300, ge=1, le=86400)
    """After that many seconds of run time Slurm ends it; as long again is allowed for waiting in the queue."""
    expect: Expectation = Expectation()
    """What must hold of it."""


class Verify(ApiModel):
    """How the finished cluster is proven to work."""

    jobs: list[SlurmJob] = Field(
        default_factory=lambda: [
            SlurmJob(name="hostname", script="#!/bin/sh\nsrun hostname\n", expect=Expectation(every_node=True))
        ],
        min_length=1,
        max_length=16,
        json_schema_extra=list_map("name"),
    )
    """Slurm jobs, run one after the other; all must pass."""


def find_script_problems(script: str) -> list[str]:
    """List why sbatch would not take a batch script, or make several jobs of it.

    Source: https://slurm.schedmd.com/sbatch.html and, of what it takes for a script, src/sbatch/sbatch.c.
    """
    problems = []
    if script.startswith("\ufeff"):
        problems.append("it begins with a byte order mark")
    elif not _INTERPRETER.match(script):
        problems.append("it must begin with #! and the path of an interpreter, such as #!/bin/sh")
    if "\r\n" in script or "\r" in script.split("\n", 1)[0]:
        problems.append("its lines must end in line feeds alone, not in carriage returns with them")
    if "\0" in script:
        problems.append("it has a NUL character")
    if any(_SEVERAL_JOBS.fullmatch(option) for option in _iterate_options(script)):
        problems.append("it must be one job, without #SBATCH --array or hetjob")
    return problems


def _iterate_options(script: str) -> Iterator[str]:
    """Return the options that a script gives sbatch; those behind the first command are none."""
    for line in script.split("\n"):
        if line.strip() and not line.startswith("#"):
            return
        if line.startswith("#SBATCH"):
            try:
                yield from shlex.split(line.removeprefix("#SBATCH"), comments=True)
            except ValueError:  # an open quote, of which sbatch makes what it likes
                yield from line.split()
