"""The statuses of a commit: which there should be, and what can follow on what. Pure.

One for the whole event holds the pipeline open from the first word to the last; a phase has one as soon as it begins.
GitLab changes neither text nor address of a running status, so a phase's progress is in the note.
"""

from __future__ import annotations

from collections.abc import Iterator

from bessemer.api.buildtrigger.report import PLACEHOLDERS
from bessemer.api.buildtrigger.resource import BuildTrigger
from bessemer.api.buildtrigger.status import EventState
from bessemer.api.clusterbuild.status import PhaseState, PhaseStatus
from bessemer.api.names import bounded_label
from bessemer.api.phase_contract import PHASE_ORDER
from bessemer.foreign import make_line
from bessemer.gitlab.reports import OPEN, NewStatus, State
from bessemer.kinds.buildtrigger.facts import BuildFact, BuildState, Facts, Resolution
from bessemer.kinds.buildtrigger.records import Record

PREFIX = "bessemer/"
"""Keeps our names from those of the project's own jobs: GitLab refuses a status that has the name of a job."""
MOST_CHARACTERS = 255
"""Of a description and an address."""
_NAME_CHARACTERS = 90
"""Of the name of a trigger or cluster: with a phase and a label, GitLab's limit of 255 is kept."""
_EVENTS = {
    EventState.BUILDING: State.RUNNING,
    EventState.SUCCEEDED: State.SUCCESS,
    EventState.PLANNED: State.SUCCESS,
    EventState.FAILED: State.FAILED,
    EventState.REFUSED: State.FAILED,
    EventState.SUPERSEDED: State.CANCELED,
    EventState.SKIPPED: State.CANCELED,
}
_UNTOLD = frozenset({EventState.SUPERSEDED, EventState.SKIPPED})
"""States that end what was told before, and of which nothing is told otherwise."""
_PHASES = {PhaseState.RUNNING: State.RUNNING, PhaseState.SUCCEEDED: State.SUCCESS, PhaseState.FAILED: State.FAILED}


def name_event(trigger: str, label: str = "") -> str:
    """Return the name of the status of a whole event; the label tells it from those of others for the same commit."""
    return _add_label(f"{PREFIX}{bounded_label(trigger, _NAME_CHARACTERS)}", label)


def name_phase(cluster: str, phase: str, label: str = "") -> str:
    """Return the name of the status of a phase."""
    return _add_label(f"{PREFIX}{bounded_label(cluster, _NAME_CHARACTERS)}/{phase}", label)


def _add_label(name: str, label: str) -> str:
    return f"{name} ({label})" if label else name


def list_names(trigger: str, record: Record) -> frozenset[str]:
    """Return all names that the statuses of an event can have."""
    clusters, label = record.outcome.builds if record.outcome is not None else [], get_label(record)
    phases = {name_phase(cluster, phase, label) for cluster in clusters for phase in PHASE_ORDER}
    return frozenset(phases | {name_event(trigger, label)})


def get_label(record: Record) -> str:
    """Return what the names of an event's statuses have in addition."""
    return record.report.label if record.report is not None else ""


def compute_statuses(facts: Facts, record: Record) -> list[NewStatus]:
    """Return the statuses that an event should have, that of the whole event last: it ends when all others have."""
    whole = _compute_event(facts, record)
    if whole is None:
        return []
    names = record.outcome.builds if record.outcome is not None else []
    builds = {build.name: build for build in facts.builds if build.event == record.name}
    phases = [status for name in names if name in builds for status in _compute_phases(facts, record, builds[name])]
    return [whole, *phases] if whole.state in OPEN else [*phases, whole]


def is_told(facts: Facts, record: Record) -> bool:
    """Return whether GitLab is told of an event at all, as long as nothing was told before."""
    outcome = record.outcome
    if outcome is not None:
        return outcome.state not in _UNTOLD
    answer = facts.answers.get(record.name)
    return isinstance(answer, Resolution) and answer.refusal is None and bool(answer.clusters)


def can_follow(before: State | None, after: State) -> State | None:
    """Return the state to report so that a status gets as near to a state as GitLab allows; None if it is there.

    Source: app/models/commit_status.rb of gitlab-org/gitlab
    """
    if before is after or (before is State.RUNNING and after is State.PENDING):
        return None
    return State.CANCELED if before is State.RUNNING and after is State.SKIPPED else after


def _compute_event(facts: Facts, record: Record) -> NewStatus | None:
    if not is_told(facts, record) and record.report is None:
        return None
    outcome, name = record.outcome, name_event(facts.trigger.name, get_label(record))
    url = build_url(facts.trigger, record, "", "")
    if outcome is None:
        return NewStatus(name, State.PENDING, "waits for an earlier build, or for the next pass", url)
    text = outcome.message if outcome.message.startswith(outcome.reason) else f"{outcome.reason}: {outcome.message}"
    return NewStatus(name, _EVENTS.get(outcome.state, State.PENDING), make_line(text, MOST_CHARACTERS), url)


def _compute_phases(facts: Facts, record: Record, build: BuildFact) -> Iterator[NewStatus]:
    """Yield the statuses of the phases that have begun; while a build goes on, a failed phase may be repeated."""
    ended = build.state is not BuildState.BUILDING
    for phase in build.details.phases if build.details is not None else []:
        state = _PHASES.get(phase.state)
        if not ended and state is State.FAILED:
            state = State.RUNNING
        if ended and state is State.RUNNING:
            state = State.CANCELED
        if state is not None:
            name = name_phase(build.name, phase.name, get_label(record))
            url = build_url(facts.trigger, record, build.name, phase.name)
            yield NewStatus(name, state, _describe(phase) if state not in OPEN else "", url)


def _describe(phase: PhaseStatus) -> str:
    return make_line(": ".join(part for part in (phase.reason, phase.message) if part), MOST_CHARACTERS)


def build_url(trigger: BuildTrigger, record: Record, cluster: str, phase: str) -> str | None:
    """Return the address that a status links to; None if there is none, or it is too long."""
    template = trigger.spec.report.target_url if trigger.spec is not None else None
    if template is None:
        return None
    values = (trigger.namespace, trigger.name, cluster, phase, record.event.commit)
    for name, value in zip(PLACEHOLDERS, values, strict=True):
        template = template.replace(f"{{{name}}}", value)
    return template if len(template) <= MOST_CHARACTERS else None
