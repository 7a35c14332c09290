"""Verification of the finished cluster: Slurm jobs and their expected results."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from pydantic import Field

from bessemer.api.base import ApiModel, cel, list_map
from bessemer.api.fields import DnsLabel, NodeCount

_INTERPRETER = re.compile(r"#![ \t]*/[^\s/]")
"""The beginning of a script with an interpreter. Source: https://man7.org/linux/man-pages/man2/execve.2.html#DESCRIPTION"""
_SEVERAL_JOBS = re.compile(r"-a.*|--arr?a?y?(=.*)?|hetjob|packjob")
"""An option of sbatch, also abbreviated, that turns one script into several jobs."""


class Expectation(ApiModel):
    """Expected results of a Slurm job."""

    exit_code: int = Field(default=0, ge=0, le=255)
    """Expected exit code of the job."""
    output: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        json_schema_extra=cel(
            (
                "'x'.matches(self) || !'x'.matches(self)",
                "must be a regular expression in RE2 syntax: without look-around and back-references",
            )
        ),
    )
    """A regular expression in RE2 syntax (https://github.com/google/re2/wiki/Syntax) that must match somewhere in the
    last MiB of the output; ^ and $ also match at the beginning and end of lines. Terminal control sequences in the
    output are ignored."""
    every_node: bool = False
    """Whether the output must contain the host name of each of the job's nodes as a word. A name that consists only of
    letters, or only of digits, must be on a line that has nothing but host names, as srun hostname prints it."""


class SlurmJob(ApiModel):
    """One Slurm job that verifies the cluster."""

    name: DnsLabel
    """Name of the job, unique in the list."""
    script: str = Field(
        min_length=1,
        max_length=65536,
        json_schema_extra=cel(
            ("self.startsWith('#!')", "must begin with #! and the path of an interpreter, such as #!/bin/sh"),
            ("!self.contains('\\r\\n')", "must have Unix line endings: line feeds without carriage returns"),
        ),
    )
    """The batch script, beginning with an interpreter line such as #!/bin/sh. It must be a single job: without #SBATCH
    --array or hetjob."""
    nodes: NodeCount = "All"
    """Number of nodes that the job runs on, or All for all ready compute nodes."""
    time_limit_seconds: int = Field(default=300, ge=1, le=86400)
    """Time limit of the job in Slurm, in seconds. The job may wait in the queue for the same time."""
    expect: Expectation = Expectation()
    """Expected results of the job."""


class Verify(ApiModel):
    """Verification of the finished cluster."""

    jobs: list[SlurmJob] = Field(
        default_factory=lambda: [
            SlurmJob(name="hostname", script="#!/bin/sh\nsrun hostname\n", expect=Expectation(every_node=True))
        ],
        min_length=1,
        max_length=16,
        json_schema_extra=list_map("name"),
    )
    """Slurm jobs, which run one after another; all must pass."""


def find_script_problems(script: str) -> list[str]:
    """List the reasons why sbatch would reject a batch script, or turn it into several jobs.

    Source: https://slurm.schedmd.com/sbatch.html and src/sbatch/sbatch.c.
    """
    problems = []
    if script.startswith("\ufeff"):
        problems.append("it begins with a byte order mark")
    elif not _INTERPRETER.match(script):
        problems.append("it must begin with #! and the path of an interpreter, such as #!/bin/sh")
    if "\r\n" in script or "\r" in script.split("\n", 1)[0]:
        problems.append("it must have Unix line endings: line feeds without carriage returns")
    if "\0" in script:
        problems.append("it contains a NUL character")
    if any(_SEVERAL_JOBS.fullmatch(option) for option in _iterate_options(script)):
        problems.append("it must be a single job: without #SBATCH --array or hetjob")
    return problems


def _iterate_options(script: str) -> Iterator[str]:
    """Return the #SBATCH options of a script; lines after the first command don't count."""
    for line in script.split("\n"):
        if line.strip() and not line.startswith("#"):
            return
        if line.startswith("#SBATCH"):
            try:
                yield from shlex.split(line.removeprefix("#SBATCH"), comments=True)
            except ValueError:  # an unclosed quote; how sbatch reads it is not defined
                yield from line.split()
