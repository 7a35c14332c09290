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
from bessemer.kinds.buildtrigger.records import RecordedEvent
from bessemer.kinds.buildtrigger.rules import Ignored, Subject, choose_rule, get_short_name, list_rules


def find_missed(facts: Facts, now: datetime) -> Iterator[RecordedEvent]:
    """Yield the events that were missed, by the names of their refs."""
    before = {entry.ref: entry.commit for entry in facts.trigger.status.refs or ()}
    for ref, head, rule in _list_known(facts):
        if _is_missed(facts, ref, head):
            yield RecordedEvent(
                kind=get_kind(ref),
                ref=ref,
                commit=head.commit,
                before=before.get(ref),
                rule=rule,
                received=now,
            )


def compute_refs(facts: Facts) -> list[RefStatus] | None:
    """Return the branches and tags of the status: one whose event is not recorded yet stays as it was."""
    known = facts.trigger.status.refs
    if facts.refs is None:
        return known
    before, found = {entry.ref: entry.commit for entry in known or ()}, []
    for ref, head, _ in _list_known(facts):
        commit = before.get(ref) if _is_missed(facts, ref, head) else head.commit
        if commit is not None:
            found.append(RefStatus(ref=ref, commit=commit))
    return found


def get_kind(ref: str) -> str:
    """Return the kind of the event of a branch or tag that has changed."""
    return "tag" if ref.startswith(TAG) else "push"


def list_fitting(spec: BuildTriggerSpec, refs: Mapping[str, Head]) -> list[tuple[str, Head, str]]:
    """List the branches and tags for which there is a rule, with its name; of very many only MOST_REFS."""
    found = []
    for ref, head in sorted(refs.items()):
        subject = Subject(get_kind(ref), get_short_name(ref), head.protected)
        rule = choose_rule(list_rules(spec.rules, subject), subject, None)
        if not isinstance(rule, Ignored):
            found.append((ref, head, rule.name))
    return found[:MOST_REFS]


def _list_known(facts: Facts) -> list[tuple[str, Head, str]]:
    spec = facts.trigger.spec
    return list_fitting(spec, facts.refs) if spec is not None and facts.refs is not None else []


def _is_missed(facts: Facts, ref: str, head: Head) -> bool:
    known = facts.trigger.status.refs
    if known is None:
        return False
    if any(entry.ref == ref and entry.commit == head.commit for entry in known):
        return False
    events = [record.event for record in facts.records.own if record.event.job is None]
    return not any((event.ref, event.commit) == (ref, head.commit) for event in events)
