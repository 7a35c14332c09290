"""What tells the names of an event's statuses from those of others for the same commit. Pure.

GitLab knows a status by commit, pipeline or ref, and name. Two events of one commit share these if a branch is pushed
and has a merge request, and two triggers of different namespaces may have, and build, what has the same name.
"""

from __future__ import annotations

from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.api.names import bounded_label
from bessemer.gitlab.events import MERGE_REQUEST
from bessemer.gitlab.reports import Target
from bessemer.kinds.buildtrigger.facts import Facts
from bessemer.kinds.buildtrigger.records import Place, Record
from bessemer.kinds.buildtrigger.report.targets import build_target, name_ref
from bessemer.kinds.buildtrigger.reported import Known

_REF_CHARACTERS = 60


def get_place(record: Record) -> tuple[Place, str]:
    """Return ref and commit of an event: the events that have both have one set of statuses."""
    return record.event.place, record.event.commit


def choose_label(facts: Facts, spec: BuildTriggerSpec, record: Record) -> str:
    """Return the label of an event of which nothing was told yet; empty where its names are its own."""
    target, parts = _get_target(facts, spec, record), list[str]()
    if facts.shares_project:
        parts.append(facts.trigger.namespace)
    others = [
        other for other in facts.records.own if other.report is not None and get_place(other) != get_place(record)
    ]
    if any(_coincide(target, _get_target(facts, spec, other)) for other in others):
        parts.append(_name_ref(record.event.ref))
    return ", ".join(parts)


def _get_target(facts: Facts, spec: BuildTriggerSpec, record: Record) -> Target:
    return build_target(spec, record, facts.reports.get(record.name, Known()))


def _coincide(one: Target, other: Target) -> bool:
    same = one.ref == other.ref or (one.pipeline is not None and one.pipeline == other.pipeline)
    return (one.project.lower(), one.commit) == (other.project.lower(), other.commit) and same


def _name_ref(ref: str) -> str:
    if ref.startswith(MERGE_REQUEST):
        return f"!{ref.removeprefix(MERGE_REQUEST).partition('/')[0]}"
    return bounded_label(name_ref(ref), _REF_CHARACTERS)
