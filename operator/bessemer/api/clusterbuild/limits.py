"""How long things may take, and how often they are tried."""

from __future__ import annotations

from pydantic import Field

from bessemer.api.base import ApiModel


class Deadlines(ApiModel):
    """How long each step of a machine's install may take, in seconds, before the machine is cycled and tried again."""

    power_on_seconds: int = Field(default=60, ge=1, le=3600)
    """From the power command until power control reads back what was wanted; else NeverPoweredOn."""
    netboot_seconds: int = Field(default=300, ge=1, le=7200)
    """From power on until the kernel is asked for, and then until the installer calls back; else NeverNetbooted."""
    install_seconds: int = Field(default=1800, ge=1, le=14400)
    """From the start of the install until its final call-back; else InstallStalled."""
    reachable_seconds: int = Field(default=300, ge=1, le=7200)
    """From the final call-back until SSH answers with the planted host key; else NeverReachable."""
    phase_seconds: int = Field(default=7200, ge=10, le=86400)
    """For one attempt of any phase, as the last resort: the pod's activeDeadlineSeconds."""


class Retries(ApiModel):
    """How often what fails is tried again."""

    node_attempts: int = Field(default=2, ge=1, le=10)
    """Attempts of one machine's install within one phase attempt."""
    phase_attempts: int = Field(default=3, ge=1, le=10)
    """Attempts of one phase; the budget is new after a change of the spec or the annotation bessemer.dev/retry."""
    back_off_seconds: int = Field(default=5, ge=0, le=600)
    """Wait before the second attempt of a phase; doubled for each further one, up to maxBackOffSeconds."""
    max_back_off_seconds: int = Field(default=60, ge=0, le=3600)
    """Longest wait between two attempts of a phase."""
