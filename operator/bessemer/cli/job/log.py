"""What a job prints while its build goes on: lines, and a collapsible section for each phase. Pure.

Source: https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from bessemer.api.jobprogress import BuildProgress, JobProgress, LogQuery, PhaseLine
from bessemer.foreign import make_line

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_WAITING = frozenset({"Pending", ""})
RUNNING, FAILED = "Running", "Failed"
MOST_LINES = 2000
"""Of the log of one attempt: GitLab's runner cuts the log of a job at 4 MiB."""
LAST_LINES = 20
"""Of the log of a phase that has failed, with which the log of the job ends."""
Attempt = tuple[str, str, int]
"""Build, phase, and number of the attempt."""


class JobLog:
    """Returns what is new in each progress. Sections are only used where there is one build: they can't overlap."""

    def __init__(self) -> None:
        self._said = ""
        self._activity = ""
        self._phases: dict[tuple[str, str], tuple[str, int]] = {}
        self._places: dict[Attempt, str] = {}
        """Up to where the logs of attempts were read."""
        self._lines: dict[Attempt, int] = {}
        self._problem = ""
        self._complete: set[Attempt] = set()
        """Attempts of whose logs nothing more is wanted."""
        self._open: tuple[str, str] | None = None
        """Name and title of the open section."""

    def choose(self, progress: JobProgress) -> LogQuery | None:
        """Return which lines to ask for next: of the first phase whose log was not read to its end."""
        for build, phase in _list_followed(progress):
            attempt = (build.name, phase.name, phase.attempt)
            if attempt not in self._complete:
                return LogQuery(*attempt, after=self._places.get(attempt, ""))
        return None

    def is_behind(self, progress: JobProgress) -> bool:
        """Return whether the log of a phase that has ended must be asked for."""
        wanted = self.choose(progress)
        return wanted is not None and not any(
            (phase.name, phase.state) == (wanted.phase, RUNNING) for _, phase in _list_followed(progress)
        )

    def write(self, progress: JobProgress, now: datetime, asked: LogQuery | None = None) -> Iterator[str]:
        """Yield the lines for what has changed; ``asked`` is what was asked for with the request."""
        lines = self._take_lines(progress, asked) if asked is not None else []
        said = f"{progress.state}: {progress.message or progress.reason}".rstrip(": ")
        if said != self._said and not progress.final:
            self._said = said
            yield from self._split(said)
        for build in progress.builds:
            own = [] if asked is None or asked.build != build.name else lines
            yield from self._write_build(build, now, asked, own, alone=len(progress.builds) == 1)

    def _take_lines(self, progress: JobProgress, asked: LogQuery) -> list[str]:
        attempt, log = (asked.build, asked.phase, asked.attempt), progress.log
        lines = list(log.lines) if log is not None else []
        running = any(
            (phase.name, phase.attempt, phase.state) == (asked.phase, asked.attempt, RUNNING)
            for _, phase in _list_followed(progress)
        )
        if log is not None:
            self._places[attempt] = log.after
            if log.problem and log.problem != self._problem:
                lines.append(f"(the log can't be read: {log.problem})")
            self._problem = log.problem
        if not running and (log is None or not log.more or not lines):
            self._complete.add(attempt)
        count = self._lines[attempt] = self._lines.get(attempt, 0) + len(lines)
        if count > MOST_LINES:
            self._complete.add(attempt)
            lines.append(f"(the log goes on: bessemer logs {asked.build} {asked.phase} shows all of it)")
        return lines

    def end(self, now: datetime) -> Iterator[str]:
        """Yield the end of a section that is open."""
        if self._open is not None:
            yield f"\x1b[0Ksection_end:{int(now.timestamp())}:{self._open[0]}\r\x1b[0K"
            self._open = None

    def _write_build(
        self, build: BuildProgress, now: datetime, asked: LogQuery | None, lines: list[str], *, alone: bool
    ) -> Iterator[str]:
        for phase in build.phases:
            if phase.state in _WAITING:
                continue
            key, state = (build.name, phase.name), (phase.state, phase.attempt)
            attempt = (*key, phase.attempt)
            title = f"{build.name} {phase.name}" + (f" (attempt {phase.attempt})" if phase.attempt > 1 else "")
            if alone and self._phases.get(key, ("", 0))[1] != phase.attempt:
                self._phases[key] = ("", phase.attempt)
                yield from self._begin(build, phase, title, now)
            if asked is not None and attempt == (asked.build, asked.phase, asked.attempt):
                yield from (make_line(line, len(line)) for line in lines)
            if alone and phase.attempt and phase.state != RUNNING and attempt not in self._complete:
                return  # its section ends after the last line of its log
            if self._phases.get(key) != state:
                self._phases[key] = state
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


def _list_followed(progress: JobProgress) -> Iterator[tuple[BuildProgress, PhaseLine]]:
    """Yield the phases whose logs are shown: those of a build that is the only one, and so has sections."""
    if len(progress.builds) == 1:
        (build,) = progress.builds
        yield from ((build, phase) for phase in build.phases if phase.state not in _WAITING and phase.attempt)


def list_failed(progress: JobProgress) -> list[LogQuery]:
    """List the ends of logs that a job shows at last: those of phases that have failed."""
    return [
        LogQuery(build.name, phase.name, phase.attempt, last=LAST_LINES)
        for build in progress.builds
        for phase in build.phases
        if phase.state == FAILED and phase.attempt
    ]


def write_failed(query: LogQuery, lines: list[str]) -> Iterator[str]:
    """Yield the end of the log of a phase that has failed."""
    yield make_line(f"{query.build} {query.phase}: the last lines of its log" + ("" if lines else ": there are none"))
    yield from (f"  {make_line(line, len(line))}" for line in lines)


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
