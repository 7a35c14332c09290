"""Which lines of the phases' logs a job is told. Pure.

They are written by programs and machines, and may be anything: each line is made printable and bounded, and the values
of the Secrets that the build's pods mount are masked in them, although no phase prints one by itself: a playbook might.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, takewhile

from bessemer.api.clusterbuild.resource import ClusterBuild
from bessemer.api.clusterbuild.status import PhaseState
from bessemer.api.jobprogress import LINE_CHARACTERS, LOG_LINES, LogQuery, PhaseLog
from bessemer.api.names import attempt_name, secret_name
from bessemer.api.phase_contract import PhaseName
from bessemer.errors import Invalid
from bessemer.foreign import Unreadable, make_line, parse_int, parse_time
from bessemer.kube.pods import PHASE_CONTAINER, PLAYBOOK_CONTAINER
from bessemer.kube.protocol import Object
from bessemer.kube.secretdata import read_secret

READ_BYTES = 128 << 10
"""Of a log, read at once."""
TOLD_BYTES = 24 << 10
"""Of lines in one answer, as JSON: it has the progress as well, and must not be longer than MOST_BYTES."""
LEAST_MASKED = 8
"""Characters of a line of a Secret; shorter ones, such as a user name, are in too many words."""
MASK = "[MASKED]"
"""As GitLab has it in the logs of jobs."""
_AFTER = re.compile(r"[0-9T:.Z+-]{0,64}")


@dataclass(frozen=True)
class LogPlace:
    """Where lines are read."""

    pod: str
    containers: tuple[str, ...]
    """In the order in which they run."""
    secrets: tuple[str, ...]
    """Names of the Secrets whose values are masked."""


def parse_query(query: Mapping[str, str]) -> LogQuery | None:
    """Return which lines a job wants; None if it wants none. Raises Invalid InvalidRequest."""
    if "phase" not in query:
        return None
    try:
        attempt = parse_int(query.get("attempt", ""), least=1, most=10**9)
        last = parse_int(query.get("last", "0"), most=LOG_LINES)
        if not _AFTER.fullmatch(query.get("after", "")):
            raise Unreadable("not a place in a log")
    except Unreadable:
        raise Invalid("InvalidRequest", "attempt, after and last must be as in the answer before") from None
    return LogQuery(query.get("build", ""), query["phase"], attempt, query.get("after", ""), last)


def find_place(builds: Iterable[ClusterBuild], query: LogQuery) -> LogPlace | None:
    """Return where the log is of an attempt that is the latest one of a phase; None if there is none.

    The pod is known by the name that the operator gives it: the status, which others may be able to write, can't lead
    to another one.
    """
    build = next((build for build in builds if build.name == query.build), None)
    if build is None or build.spec is None or query.phase not in set(PhaseName):
        return None
    phase = PhaseName(query.phase)
    entry = next((entry for entry in build.status.phases if entry.name == phase), None)
    if entry is None or entry.attempt != query.attempt or entry.state == PhaseState.PENDING:
        return None
    playbooks, key = build.spec.configuration.playbooks, build.spec.ssh.private_key_secret
    named = (key.name if key is not None else None, playbooks.login_secret_name if playbooks is not None else None)
    return LogPlace(
        attempt_name(build.name, phase, query.attempt),
        (PHASE_CONTAINER,) if playbooks is None else (PLAYBOOK_CONTAINER, PHASE_CONTAINER),
        (secret_name(build.name), *(name for name in named if name is not None)),
    )


def find_since(query: LogQuery) -> datetime | None:
    """Return from which second on a log has to be read; raises Invalid InvalidRequest."""
    try:
        return parse_time(query.after).replace(microsecond=0) if query.after else None
    except Unreadable:
        raise Invalid("InvalidRequest", "after must be as in the answer before") from None


def join_parts(first: str, second: str | None) -> str:
    """Return the logs of two containers as one; None: there is no second one. The last line may have no end."""
    return first + ("\n" if first and second and not first.endswith("\n") else "") + (second or "")


def cut_log(text: str, query: LogQuery, secrets: Iterable[str]) -> PhaseLog:
    """Return the lines of a part of a log, of at most READ_BYTES, that were not told yet."""
    cut = len(text.encode()) >= READ_BYTES
    entries = [line.partition(" ") for line in text.split("\n")]
    last = entries.pop()
    if last[0] and not cut:
        entries.append(last)
    known = [number for number, (stamp, _, _) in enumerate(entries) if query.after and stamp == query.after]
    if cut and (not entries or (not known and "." in query.after)):
        return _skip_second(entries[0][0] if entries else last[0])
    fresh = entries[known[-1] + 1 :] if known else entries
    masked = sorted(set(secrets), key=len, reverse=True)
    told = [_tell(content, masked) for _, _, content in (fresh[-query.last :] if query.last else fresh[:LOG_LINES])]
    if query.last:
        return PhaseLog(lines=told[len(told) - _count_fitting(reversed(told)) :])
    count = _count_fitting(told)
    after = fresh[count - 1][0] if count else query.after
    return PhaseLog(lines=told[:count], after=make_line(after, 64), more=bool(count) and (cut or count < len(fresh)))


def _tell(content: str, masked: Iterable[str]) -> str:
    for secret in masked:
        content = content.replace(secret, MASK)
    return make_line(content, LINE_CHARACTERS)


def _count_fitting(lines: Iterable[str]) -> int:
    """Return how many of the lines fit into an answer."""
    sizes = accumulate(len(json.dumps(line)) for line in lines)
    return sum(1 for _ in takewhile(lambda size: size <= TOLD_BYTES, sizes))


def _skip_second(stamp: str) -> PhaseLog:
    """Return that a second has more lines than can be read: the place is known to a second only."""
    try:
        after = parse_time(stamp).replace(microsecond=0) + timedelta(seconds=1)
    except Unreadable:
        return PhaseLog()
    text = f"(lines are left out: more than {READ_BYTES} bytes in one second)"
    return PhaseLog(lines=[text], after=after.strftime("%Y-%m-%dT%H:%M:%SZ"), more=True)


def list_secret_lines(raw: Iterable[Object | None]) -> set[str]:
    """List the lines of all values of Secrets that are long enough to be told from other words."""
    found = set[str]()
    for one in raw:
        data = read_secret(one, "")
        for key in data.values:
            try:
                value = data.get_bytes(key) or b""
            except Invalid:
                continue  # a value that is not base64 reaches no pod
            found.update(line.strip() for line in value.decode(errors="ignore").splitlines())
    return {line for line in found if len(line) >= LEAST_MASKED}
