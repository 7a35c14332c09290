"""How the finished cluster is proven to work: Slurm jobs and what must hold of them."""

from __future__ import annotations

from pydantic import Field

from bessemer.fields import DnsLabel, NodeCount
from bessemer.resource import ApiModel, list_map


class Expectation(ApiModel):
    """What must hold of a finished Slurm job."""

    exit_code: int = Field(default=0, ge=0, le=255)
    """The job's exit code."""
    output: str | None = Field(default=None, min_length=1, max_length=1024)
    """A regular expression (RE2-like, Python's re) that must be found in the output."""
    every_node: bool = False
    """Whether the host name of each of the job's nodes must stand in the output."""


class SlurmJob(ApiModel):
    """One Slurm job that verifies the cluster."""

    name: DnsLabel
    """Its name, unique in the list."""
    script: str = Field(min_length=1, max_length=65536)
    """The batch script, with its first line (#!/bin/sh)."""
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
