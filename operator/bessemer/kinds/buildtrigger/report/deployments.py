"""The deployments of an event: one for each of its builds. Pure."""

from __future__ import annotations

from bessemer.api.buildtrigger.resource import BuildTrigger
from bessemer.api.buildtrigger.status import EventState
from bessemer.gitlab.events import TAG
from bessemer.gitlab.reports import Deployment, NewDeployment
from bessemer.kinds.buildtrigger.facts import BuildFact, BuildState, Facts
from bessemer.kinds.buildtrigger.plan import Move
from bessemer.kinds.buildtrigger.records import Record
from bessemer.kinds.buildtrigger.report.targets import REASON, name_ref
from bessemer.kinds.buildtrigger.reported import CreateDeployment, FindDeployment, Known, UpdateDeployment

RUNNING, CANCELED = "running", "canceled"
_ENDS = {BuildState.READY: "success", BuildState.FAILED: "failed"}
_FINAL = frozenset({*_ENDS.values(), CANCELED})
_NONE = frozenset({EventState.REFUSED, EventState.PLANNED, EventState.SKIPPED})
"""States of events that build nothing."""


def decide_deployments(facts: Facts, record: Record, known: Known) -> Move | None:
    """Return the next step for the deployments of an event; None if they are as they should be."""
    spec, outcome = facts.trigger.spec, record.outcome
    if spec is None or spec.report.environment is None or "deployments" in known.refusals:
        return None
    names = outcome.builds if outcome is not None and outcome.state not in _NONE else []
    for name in names:
        move = _decide_deployment(facts, record, known, name)
        if move is not None:
            return move
    return None


def _decide_deployment(facts: Facts, record: Record, known: Known, name: str) -> Move | None:
    environment, commit = build_environment(facts.trigger, name), record.event.commit
    if name not in known.deployments:
        step = FindDeployment(record.name, name, environment, commit)
        return Move(REASON, f"{name}: whether there is a deployment", step)
    build = next((build for build in facts.builds if (build.name, build.event) == (name, record.name)), None)
    wanted, found = _compute_state(facts, build), known.deployments[name]
    if wanted == CANCELED:
        if found is None or found.state in _FINAL:
            return None
    elif found is None or (found.state in _FINAL and found.state != wanted):
        new = NewDeployment(environment, commit, name_ref(record.event.ref), record.event.ref.startswith(TAG))
        return Move(REASON, f"{name} is deployed to {environment}", CreateDeployment(record.name, name, new))
    if found.state == wanted:
        return None
    return _update(record, name, found, wanted)


def _update(record: Record, name: str, found: Deployment, state: str) -> Move:
    return Move(REASON, f"{name}: {state}", UpdateDeployment(record.name, name, found, state))


def _compute_state(facts: Facts, build: BuildFact | None) -> str:
    if build is None or (facts.trigger.deleted is not None and build.state is BuildState.BUILDING):
        return CANCELED
    return _ENDS.get(build.state, RUNNING)


def build_environment(trigger: BuildTrigger, cluster: str) -> str:
    """Return the name of the environment of a cluster."""
    name = trigger.spec.report.environment or "" if trigger.spec is not None else ""
    for place, value in (("namespace", trigger.namespace), ("trigger", trigger.name), ("cluster", cluster)):
        name = name.replace(f"{{{place}}}", value)
    return name[:255]
