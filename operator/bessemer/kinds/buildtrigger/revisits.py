"""Events that a ref has passed over, and commits to which it comes back. Pure.

A record is named by its ref and commit, so that an event which arrives twice is one. A branch that is set back to an
earlier commit, or created again, and a merge request that is reopened have a record of that commit already: that is
another event all the same, if the ref was elsewhere since.
"""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.api.buildtrigger.status import EventState
from bessemer.kinds.buildtrigger.records import Record, RecordedEvent

PASSED_OVER = "Superseded"
"""Reason of an event whose ref pointed elsewhere, or was gone, before anything was built for it."""
TURNED_AWAY = "BuildInProgress"
"""Reason of an event that came while its cluster was being built, where concurrency is Forbid."""
MOST_RETURNS = 16
"""Records of returns to one commit that webhooks make: an old one that is delivered again and again must not make more
and more. Beyond, only the comparison of branches and tags finds a return."""
_RETURN = "return "


def name_return(
    records: Sequence[Record], event: RecordedEvent, most: int | None = MOST_RETURNS, *, changed: bool = False
) -> RecordedEvent | None:
    """Return an event of a commit that is recorded already as another one; None where it is the recorded one.

    ``changed`` says that something else than the commit has changed, so that what was skipped may count now; ``most``
    how many returns to a commit there may be, None any number.
    """
    moves = _list_moves(records, event)
    same = [one for one in moves if (one.event.commit, one.event.rule) == (event.commit, event.rule)]
    if not same or any(one.outcome is None for one in same):
        return None
    latest = next((one for one in reversed(moves) if not was_passed_over(one)), None)
    skipped = latest is not None and latest.outcome is not None and latest.outcome.state is EventState.SKIPPED
    if latest in same and not (changed and skipped):
        return None
    number = 1 + max(_parse_number(one.event.again) for one in same)
    return event.model_copy(update={"again": f"{_RETURN}{number}"}) if most is None or number <= most else None


def find_base(records: Sequence[Record], record: Record) -> str | None:
    """Return the commit with which the files of an event are compared: the last one that was not passed over.

    What was changed by an event that a later one has overtaken, or that came while a build was going on where that is
    forbidden, is built with the later one, whatever that has changed.
    """
    moves = _list_moves(records, record.event)
    passed = {one.event.commit: one.event.before for one in moves if was_passed_over(one) or _was_turned_away(one)}
    before = record.event.before
    while before in passed:
        before = passed.pop(before)
    return before


def was_passed_over(record: Record) -> bool:
    """Return whether the ref of an event was found elsewhere, so that the event has led to nothing."""
    outcome = record.outcome
    return outcome is not None and (outcome.state, outcome.reason) == (EventState.SUPERSEDED, PASSED_OVER)


def _was_turned_away(record: Record) -> bool:
    outcome = record.outcome
    return outcome is not None and (outcome.state, outcome.reason) == (EventState.REFUSED, TURNED_AWAY)


def _list_moves(records: Sequence[Record], event: RecordedEvent) -> list[Record]:
    """List the events of a ref that say where it points; a job or a comment asks for something at any time."""
    return [
        one for one in records if one.event.place == event.place and one.event.job is None and not one.event.command
    ]


def _parse_number(again: str) -> int:
    number = again.removeprefix(_RETURN)
    return (
        int(number) if again.startswith(_RETURN) and number.isascii() and number.isdigit() and len(number) < 10 else 0
    )
