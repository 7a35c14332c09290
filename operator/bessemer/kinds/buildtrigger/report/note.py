"""The note on a merge request, as Markdown. Pure.

Texts of phases, jobs and machines may be anything: they stand in inline code without its delimiters, or in blocks in
which each line has a prefix, so that none is Markdown, a mention or a quick action of GitLab.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from bessemer.api.buildtrigger.resource import BuildTrigger
from bessemer.api.buildtrigger.status import EventState
from bessemer.api.clusterbuild.status import ClusterBuildStatus, PhaseState, PhaseStatus
from bessemer.api.phase_contract import JobResult, NodeState
from bessemer.foreign import make_line, make_text
from bessemer.kinds.buildtrigger.facts import BuildFact, BuildState, Facts
from bessemer.kinds.buildtrigger.records import Record
from bessemer.kinds.buildtrigger.report.statuses import is_told

MOST_BUILDS, MOST_GROUPS = 16, 16
"""Clusters, and groups of failed nodes of each, that are shown."""
BLOCK_LINES, BLOCK_CHARACTERS = 20, 2048
"""Of the end of a text."""
PLAN_LINES, PLAN_CHARACTERS = 200, 16384
"""Of the beginning of a plan."""
PREFIX = "| "
"""Of each line of a block: GitLab looks for quick actions at the beginning of lines, and for the end of the block."""
_ICONS = {
    PhaseState.PENDING: "·",
    PhaseState.RUNNING: "▶",
    PhaseState.SUCCEEDED: "✔",
    PhaseState.FAILED: "✘",
    PhaseState.SKIPPED: "-",
}


def build_marker(trigger: BuildTrigger) -> str:
    """Return the comment by which the note of a trigger is found again."""
    return f"<!-- bessemer/trigger {trigger.uid} -->"


def render_note(facts: Facts, record: Record) -> str | None:
    """Return the text of the note of an event; None if there is nothing to say."""
    if not is_told(facts, record) and record.report is None:
        return None
    outcome, event = record.outcome, record.event
    state = (outcome.state if outcome is not None else EventState.WAITING).value
    lines = [
        build_marker(facts.trigger),
        f"**Bessemer**: trigger {quote(facts.trigger.name)}, {quote(event.commit[:12])} of {quote(event.ref)}: {state}",
    ]
    if outcome is not None and outcome.state is not EventState.BUILDING and outcome.message and not outcome.plan:
        lines += ["", f"{quote(outcome.reason)}:", *render_block(outcome.message)]
    if outcome is not None and outcome.plan:
        lines += ["", "Plan:", *render_plan(outcome.plan)]
    builds = [build for build in facts.builds if build.event == record.name]
    for build in builds[:MOST_BUILDS]:
        lines += ["", *_render_build(build)]
    if len(builds) > MOST_BUILDS:
        lines += ["", f"and {len(builds) - MOST_BUILDS} more clusters"]
    return "\n".join(lines) + "\n"


def quote(text: str, most: int = 255) -> str:
    """Return foreign text as inline code, also in a table."""
    line = make_line(text, most).replace("`", "'").replace("|", "/").replace("\\", "/")
    return f"`{line}`" if line else ""


def render_block(text: str) -> list[str]:
    """Return the last lines of foreign text as a block of code."""
    return _fence(make_text(text[-BLOCK_CHARACTERS:], BLOCK_CHARACTERS).split("\n")[-BLOCK_LINES:])


def render_plan(text: str) -> list[str]:
    """Return the first lines of a plan as a block of code, and how many more there are."""
    lines = make_text(text, PLAN_CHARACTERS).split("\n")
    more = [f"... and {len(lines) - PLAN_LINES} more lines"] if len(lines) > PLAN_LINES else []
    return _fence([*lines[:PLAN_LINES], *more])


def _fence(lines: list[str]) -> list[str]:
    return ["", "```text", *(f"{PREFIX}{line}".rstrip() for line in lines), "```"]


def _render_build(build: BuildFact) -> Iterator[str]:
    state = "is being deleted" if build.deleting else build.state.value
    yield f"#### {quote(build.name)}: {state}{f', {quote(build.reason)}' if build.reason else ''}"
    details = build.details
    if details is None:
        return
    yield from ("", "| | phase | duration | |", "|---|---|---|---|")
    for phase in details.phases:
        yield f"| {_ICONS[phase.state]} | {phase.name} | {_measure(phase)} | {quote(phase.reason or '')} |"
    yield from ("", _count_nodes(details))
    yield from _list_failed(details)
    if build.state is BuildState.FAILED:
        failed = [phase for phase in details.phases if phase.state is PhaseState.FAILED and phase.message]
        for phase in failed:
            yield from ("", f"{phase.name}: {quote(phase.reason or '')}", *render_block(phase.message or ""))
    for job in details.jobs:
        yield from _render_job(job)


def _measure(phase: PhaseStatus) -> str:
    if phase.start_time is None or phase.end_time is None:
        return f"since {phase.start_time:%H:%M} UTC" if phase.start_time is not None else ""
    return format_duration(phase.start_time, phase.end_time)


def format_duration(start: datetime, end: datetime) -> str:
    """Return the time between two moments, such as 1h2m3s."""
    seconds = max(0, int((end - start).total_seconds()))
    hours, minutes = divmod(seconds // 60, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{seconds % 60}s"


def _count_nodes(details: ClusterBuildStatus) -> str:
    nodes = details.nodes
    counts = f"{nodes.ready} of {nodes.desired} ready, {nodes.installed} installed, {nodes.failed} failed"
    return f"Nodes: {counts}"


def _list_failed(details: ClusterBuildStatus) -> Iterator[str]:
    failed = [group for group in details.nodes.groups if group.state is NodeState.FAILED]
    if failed:
        yield ""
    for group in failed[:MOST_GROUPS]:
        yield f"- {quote(group.hosts)}: {quote(group.reason or '')} {quote(group.message or '')}".rstrip()


def _render_job(job: JobResult) -> Iterator[str]:
    passed = "passed" if job.passed else "failed"
    yield from ("", f"Job {quote(job.name)}: {passed}, {quote(job.state)} on {quote(job.nodes)}")
    if not job.passed:
        yield from render_block(f"{job.message}\n{job.output_tail}")
