"""Deadlines and retries of a ClusterBuild."""

from __future__ import annotations

from pydantic import Field

from bessemer.api.base import ApiModel


class Deadlines(ApiModel):
    """Maximum duration of each step of a machine's install, in seconds; then it is power-cycled and retried."""

    power_on_seconds: int = Field(default=60, ge=1, le=3600)
    """Seconds from the power command until power control reports the requested state; after that, NeverPoweredOn."""
    netboot_seconds: int = Field(default=300, ge=1, le=7200)
    """Seconds from power on until the node requests the kernel, and again until the first call-back of the installer;
    after that, NeverNetbooted."""
    install_seconds: int = Field(default=1800, ge=1, le=14400)
    """Seconds from the start of the install until its final call-back; after that, InstallStalled."""
    reachable_seconds: int = Field(default=300, ge=1, le=7200)
    """Seconds from the final call-back until SSH answers with the host key that Bessemer generated; after that,
    NeverReachable."""
    phase_seconds: int = Field(default=7200, ge=10, le=86400)
    """Maximum duration in seconds of one attempt of any phase: the activeDeadlineSeconds of its pod."""


class Retries(ApiModel):
    """How often failed steps are retried."""

    node_attempts: int = Field(default=2, ge=1, le=10)
    """Maximum number of attempts to install one machine within one attempt of the phase."""
    phase_attempts: int = Field(default=3, ge=1, le=10)
    """Maximum number of attempts of one phase. A change of the spec or of the annotation bessemer.dev/retry resets the
    count."""
    back_off_seconds: int = Field(default=5, ge=0, le=600)
    """Seconds between the first and the second attempt of a phase; doubled for each further attempt, up to
    maxBackOffSeconds."""
    max_back_off_seconds: int = Field(default=60, ge=0, le=3600)
    """Maximum number of seconds between two attempts of a phase."""
