"""The part of a RunnerPool's spec that says how a runner runs a job."""

from __future__ import annotations

from enum import StrEnum

from bessemer.resource import ApiModel


class ExecutorType(StrEnum):
    """How a runner runs a job."""

    SHELL = "Shell"


class Executor(ApiModel):
    """How the runner runs a job."""

    type: ExecutorType = ExecutorType.SHELL
    """Shell: in the runner pod itself."""
