"""The log of a job: patches by range, and the check of the whole at the end.

Source: lib/api/ci/runner.rb, app/services/ci/{append_build_trace,update_build_state}_service.rb
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any

from .model import Job

_RANGE = re.compile(r"^(?:bytes )?(\d+)-(\d+)$")


@dataclass(frozen=True)
class Appended:
    """What came of a patch: HTTP status and the size of the log now; 416: the patch doesn't fit to it."""

    status: int
    size: int


def parse_range(header: str | None) -> tuple[int, int] | None:
    """Read ``Content-Range: START-END`` (END included); None: missing or no range."""
    match = _RANGE.match(header or "")
    return (int(match[1]), int(match[2])) if match else None


def append_trace(job: Job, start: int, end: int, data: bytes, now: float) -> Appended:
    """Write a patch into the log. One that begins inside the log replaces what comes after its start."""
    size = len(job.trace)
    if start > size or end - start + 1 != len(data):
        return Appended(416, size)
    del job.trace[start:]
    job.trace += data
    if job.first_trace_at is None:
        job.first_trace_at = now
    job.updated_at = now
    return Appended(202, len(job.trace))


def compute_checksum(data: bytes) -> str:
    """Return a log's checksum as the runner writes it."""
    return f"crc32:{zlib.crc32(data):08x}"


def compute_trace_is_whole(job: Job, body: dict[str, Any]) -> bool:
    """Return whether the log is what a final update says it is; true where that says nothing."""
    output = body.get("output") or {}
    checksum = output.get("checksum") or body.get("checksum")
    size = output.get("bytesize")
    if size is not None and size != len(job.trace):
        return False
    return not checksum or checksum == compute_checksum(bytes(job.trace))
