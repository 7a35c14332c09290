"""Reads the log of a phase for a job."""

from __future__ import annotations

from bessemer.api.jobprogress import LogQuery, PhaseLog
from bessemer.foreign import make_line
from bessemer.kinds.buildtrigger.job.phaselog import (
    READ_BYTES,
    LogPlace,
    cut_log,
    find_since,
    join_parts,
    list_secret_lines,
)
from bessemer.kube.protocol import SECRETS, Kubernetes, Refused, Unavailable


async def read_log(kubernetes: Kubernetes, namespace: str, query: LogQuery, place: LogPlace) -> PhaseLog:
    """Return lines of a log; why it can't be read is a part of the answer, and holds up nothing else of it."""
    since, part = find_since(query), ""
    try:
        secrets = [await kubernetes.get_object(SECRETS, namespace, name) for name in place.secrets]
        for container in place.containers:
            if (left := READ_BYTES - len(part.encode())) > 0:
                part = join_parts(
                    part,
                    await kubernetes.read_log(
                        namespace, place.pod, container, since=since, last=query.last or None, most_bytes=left
                    ),
                )
    except (Refused, Unavailable) as error:
        return PhaseLog(after=query.after, problem=make_line(f"{error.reason}: {error.message}", 1024))
    return cut_log(part, query, list_secret_lines(secrets))
