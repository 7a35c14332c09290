"""How a pool is: the line of a list, and the whole picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType

from bessemer.api.runnerpool.resource import parse_runner_pool
from bessemer.api.runnerpool.status import RunnerPoolStatus
from bessemer.console.terminal import build_cell, build_table

BAR_WIDTH = 40


def summarize_pool(raw: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return whether a pool is ready, why, and what its pods do."""
    pool = parse_runner_pool(raw)
    ready = pool.status.condition("Ready")
    counts = _describe_numbers(pool.status)
    return (ready.status, ready.reason, counts) if ready else ("Unknown", "", counts)


def build_pool_status(raw: Mapping[str, Any]) -> RenderableType:
    """Return the whole picture of a pool."""
    pool = parse_runner_pool(raw)
    limits = f": {pool.spec.min} to {pool.spec.max} pods" if pool.spec else ""
    back_off = pool.status.back_off
    paused = [f"creates no pod for now: {back_off.cause}: {back_off.message}"] if back_off and back_off.until else []
    conditions = [(each.type, each.status, each.reason, each.message) for each in pool.status.conditions]
    return Group(
        build_cell(f"runnerpool/{pool.name} in {pool.namespace}{limits}", "bold"),
        "",
        *map(build_cell, (describe_counts(pool.status), *paused)),
        "",
        build_table(("CONDITION", "STATUS", "REASON", "MESSAGE"), conditions),
    )


def describe_counts(status: RunnerPoolStatus) -> str:
    """Draw what the pods do, one character each (# runs a job, + starts, . waits, - ends), and say the numbers."""
    pods = "#" * status.running + "+" * status.starting + "." * status.idle + "-" * status.draining
    shown = pods if len(pods) <= BAR_WIDTH else pods[: BAR_WIDTH - 1] + ">"
    return f"|{shown:<{BAR_WIDTH}}| {_describe_numbers(status)}"


def _describe_numbers(status: RunnerPoolStatus) -> str:
    counts = f"{status.pending} pending; pods: {status.running} running, {status.starting} starting, {status.idle} idle"
    return counts + (f", {status.draining} draining" if status.draining else "")
