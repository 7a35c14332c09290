"""What a job prints while its build goes on: lines, and a collapsible section for each phase. Pure.

Source: https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from bessemer.api.jobprogress import BuildProgress, JobProgress, PhaseLine
from bessemer.foreign import make_line

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_WAITING = frozenset({"Pending", ""})
RUNNING = "Running"


class JobLog:
    """Returns what is new in each progress. Sections are only used where there is one build: they can't overlap."""

    def __init__(self) -> None:
        self._said = ""
        self._activity = ""
        self._phases: dict[tuple[str, str], tuple[str, int]] = {}
        self._open: tuple[str, str] | None = None
        """Name and title of the open section."""

    def write(self, progress: JobProgress, now: datetime) -> Iterator[str]:
        """Yield the lines for what has changed."""
        said = f"{progress.state}: {progress.message or progress.reason}".rstrip(": ")
        if said != self._said and not progress.final:
            self._said = said
            yield from self._split(said)
        for build in progress.builds:
            yield from self._write_build(build, now, alone=len(progress.builds) == 1)

    def end(self, now: datetime) -> Iterator[str]:
        """Yield the end of a section that is open."""
        if self._open is not None:
            yield f"\x1b[0Ksection_end:{int(now.timestamp())}:{self._open[0]}\r\x1b[0K"
            self._open = None

    def _write_build(self, build: BuildProgress, now: datetime, *, alone: bool) -> Iterator[str]:
        for phase in build.phases:
            key, state = (build.name, phase.name), (phase.state, phase.attempt)
            if phase.state in _WAITING or self._phases.get(key) == state:
                continue
            before, self._phases[key] = self._phases.get(key), state
            title = f"{build.name} {phase.name}" + (f" (attempt {phase.attempt})" if phase.attempt > 1 else "")
            if alone and (before is None or before[1] != phase.attempt):
                yield from self._begin(build, phase, title, now)
            yield from self._split(f"{title}: {_describe(phase)}")
            if phase.state != RUNNING:
                yield from self.end(now)
        if build.activity and build.activity != self._activity:
            self._activity = build.activity
            yield from self._split(f"{build.activity} ({build.nodes})" if build.nodes else build.activity)

    def _begin(self, build: BuildProgress, phase: PhaseLine, title: str, now: datetime) -> Iterator[str]:
        yield from self.end(now)
        name = _NOT_IN_NAMES.sub("-", f"bessemer_{build.name}_{phase.name}_{phase.attempt}")
        self._open = (name, title)
        at = int((phase.started or now).timestamp())
        yield f"\x1b[0Ksection_start:{at}:{name}[collapsed=true]\r\x1b[0K{make_line(title)}"

    def _split(self, text: str) -> Iterator[str]:
        yield from (make_line(line, len(line)) for line in text.splitlines() if line.strip())


def _describe(phase: PhaseLine) -> str:
    said = phase.message or phase.reason
    return phase.state + (f": {said}" if said and phase.state != RUNNING else "")


def list_results(progress: JobProgress) -> Iterator[str]:
    """Yield the lines with which the log ends."""
    for build in progress.builds:
        state = "Ready" if build.ready else build.phase or progress.state
        after = f" after {build.elapsed}" if build.elapsed else ""
        reason = build.message or build.reason
        yield make_line(f"{build.name}: {state}{after}" + (f": {reason}" if reason else ""), 2048)
        if build.ready and build.address:
            yield make_line(f"{build.name}: management node {build.address}")
        for job in build.verification:
            passed = "passed" if job.passed else f"failed: {job.message or job.state}"
            yield make_line(f"{build.name}: verification {job.name} on {job.nodes or 'no node'}: {passed}", 2048)
    if not progress.builds:
        yield make_line(f"{progress.state}: {progress.message or progress.reason}", 2048)
