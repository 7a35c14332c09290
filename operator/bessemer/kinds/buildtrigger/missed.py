"""Events that no webhook has told: found by comparing the branches and tags with those of the last comparison. Pure.

A webhook is lost while the operator is down, when GitLab has disabled it, or when a push changes more than three refs
at once, for which GitLab sends none. When a trigger is new, what is there already leads to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.api.buildtrigger.status import MOST_REFS, RefStatus
from bessemer.gitlab.events import TAG
from bessemer.gitlab.protocol import Head
from bessemer.kinds.buildtrigger.facts import Facts
from bessemer.kinds.buildtrigger.records import Place, RecordedEvent, name_record
from bessemer.kinds.buildtrigger.revisits import name_return
from bessemer.kinds.buildtrigger.rules import Ignored, Subject, choose_rule, fits, get_short_name, list_project_rules


def find_missed(facts: Facts, now: datetime) -> Iterator[RecordedEvent]:
    """Yield the events that were missed, by the names of their refs."""
    before = {get_place(entry): entry.commit for entry in facts.trigger.status.refs or ()}
    for place, head, rule in _list_known(facts):
        project, ref = place
        event = RecordedEvent(
            kind=get_kind(ref),
            project=project,
            ref=ref,
            commit=head.commit,
            before=before.get(place),
            rule=rule,
            received=now,
        )
        if not _is_missed(facts, place, head):
            again = _find_return(facts, event)
            if again is None:
                continue
            event = again
        if name_record(facts.trigger, event) not in facts.records.forged:
            yield event


def compute_refs(facts: Facts) -> list[RefStatus] | None:
    """Return the branches and tags of the status: one whose event is not recorded yet stays as it was."""
    known = facts.trigger.status.refs
    if facts.refs is None:
        return known
    before, found = {get_place(entry): entry.commit for entry in known or ()}, []
    for place, head, _ in _list_known(facts):
        commit = before.get(place) if _is_missed(facts, place, head) else head.commit
        if commit is not None:
            found.append(RefStatus(project=place[0], ref=place[1], commit=commit))
    kept = [entry for entry in known or () if get_place(entry)[0] in facts.unread]
    return [*found, *kept][:MOST_REFS]


def get_place(entry: RefStatus) -> Place:
    """Return where an entry of the status is."""
    return entry.project.lower(), entry.ref


def get_kind(ref: str) -> str:
    """Return the kind of the event of a branch or tag that has changed."""
    return "tag" if ref.startswith(TAG) else "push"


def list_fitting(spec: BuildTriggerSpec, refs: Mapping[Place, Head]) -> list[tuple[Place, Head, str]]:
    """List the branches and tags for which there is a rule, with its name; of very many only MOST_REFS."""
    found = []
    rules = {project: list_project_rules(spec.rules, project) for project in {project for project, _ in refs}}
    for place, head in sorted(refs.items()):
        project, ref = place
        subject = Subject(get_kind(ref), get_short_name(ref), head.protected, project=project)
        rule = choose_rule([rule for rule in rules[project] if fits(rule, subject)], subject, None)
        if not isinstance(rule, Ignored):
            found.append((place, head, rule.name))
    return found[:MOST_REFS]


def _list_known(facts: Facts) -> list[tuple[Place, Head, str]]:
    spec = facts.trigger.spec
    return list_fitting(spec, facts.refs) if spec is not None and facts.refs is not None else []


def _find_return(facts: Facts, event: RecordedEvent) -> RecordedEvent | None:
    """Return the event of a ref that has come back to a commit, where no event of it is later than what was read."""
    read, known = facts.source.refs_read, [one.event for one in facts.records.own if one.event.place == event.place]
    if read is None or any(one.received >= read for one in known):
        return None
    found = name_return(facts.records.own, event, most=None)
    latest = next((one.commit for one in reversed(known) if one.job is None), None)
    return found.model_copy(update={"before": latest}) if found is not None else None


def _is_missed(facts: Facts, place: Place, head: Head) -> bool:
    known = facts.trigger.status.refs
    if known is None:
        return False
    if any(get_place(entry) == place and entry.commit == head.commit for entry in known):
        return False
    if place[0] and not any(get_place(entry)[0] == place[0] for entry in known):
        return False  # a project that is new in the group
    events = [record.event for record in facts.records.own if record.event.job is None]
    return not any((event.place, event.commit) == (place, head.commit) for event in events)
