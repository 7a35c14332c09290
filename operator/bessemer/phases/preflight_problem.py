"""What Preflight's checks find."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.api.reasons import INVALID_HOSTLIST
from bessemer.machines.hostlists import parse_hostlist


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    reason: str
    """One CamelCase word."""
    message: str
    """The field or system, and what would be right."""
    retryable: bool = False
    """Whether it may be resolved without a change of the spec."""
    hint: bool = False
    """Whether it is only told, as it may be as wanted."""


def parse_list(hostlist: str, field: str, problems: list[Problem]) -> tuple[str, ...] | None:
    """Expand a hostlist; where it is none, that is one more problem, and the answer None."""
    try:
        return parse_hostlist(hostlist)
    except ValueError as error:
        problems.append(Problem(INVALID_HOSTLIST, f"{field}: {error}"))
        return None
