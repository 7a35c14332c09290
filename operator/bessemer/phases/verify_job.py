"""One verification job: submitted, watched, its output read and compared with what is expected of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence

from bessemer.clusterbuild.verification import SlurmJob
from bessemer.errors import Invalid
from bessemer.phases.clock import Clock, Terminated
from bessemer.phases.hostlists import HOSTLIST_LIMIT, parse_hostlist
from bessemer.phases.report import JobResult
from bessemer.phases.slurm import JobState, Slurm, SlurmFailed
from bessemer.phases.ssh import SshFailure

SHORTEST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 3.0
CANCEL_SECONDS = 60.0
"""How long Slurm may take to end a job; KillWait, after which it kills, is 30 s by default."""
TAIL_CHARACTERS = 1024
ENDED_BY_ITSELF = ("COMPLETED", "FAILED")
"""States of a job whose script ran to its end; its exit code says the rest."""

_log = logging.getLogger(__name__)


def check_patterns(jobs: Iterable[SlurmJob]) -> None:
    """Check that what is expected of outputs are regular expressions.

    Raises:
        Invalid: one is not; names the job.
    """
    for job in jobs:
        try:
            re.compile(job.expect.output or "")
        except re.error as error:
            raise Invalid(
                "InvalidPattern", f"spec.verify.jobs[{job.name}].expect.output: no regular expression: {error}"
            ) from error


def run_job(slurm: Slurm, clock: Clock, job: SlurmJob, hosts: Sequence[str]) -> JobResult:
    """Run a job on some or all of the hosts; whatever Slurm makes of it is a result.

    Raises:
        Invalid: its script asked for several jobs; they are ended.
        SshFailure: the management node can't be reached.
        Terminated: the pod is being stopped; the job is ended.
    """
    wanted = len(hosts) if job.nodes == "All" else int(job.nodes)
    if wanted > len(hosts):
        message = f"it needs {wanted} nodes, {len(hosts)} are ready"
        return JobResult(name=job.name, passed=False, state="NOT_SUBMITTED", message=message)
    try:
        job_id = slurm.submit(job, hosts)
    except SlurmFailed as error:
        return JobResult(name=job.name, passed=False, state="NOT_SUBMITTED", message=error.message[:1024])
    _log.info("job %s has number %d", job.name, job_id)
    try:
        found, late = watch(slurm, clock, job_id, float(job.time_limit_seconds))
    except (Invalid, Terminated):
        slurm.cancel(job_id)
        raise
    try:
        output = slurm.take_output(job_id, found.batch_host) if found.batch_host else ""
        problems = list(find_problems(job, found, output))
    except (SlurmFailed, SshFailure) as error:
        output, problems = "", [error.message]
    return JobResult(
        name=job.name,
        job_id=job_id,
        passed=not (late or problems),
        state=found.state,
        exit_code=found.exit_code,
        nodes=found.nodes[:HOSTLIST_LIMIT],
        message="; ".join([late] if late else problems)[:1024],
        output_tail=output[-TAIL_CHARACTERS:],
    )


def watch(slurm: Slurm, clock: Clock, job_id: int, limit_seconds: float) -> tuple[JobState, str]:
    """Watch a job until it has ended: the limit holds for its wait in the queue and again for its run.

    A job that takes longer is ended; gives its last state, and what took too long.
    """
    started, running, pause = clock.now(), False, SHORTEST_POLL_SECONDS
    while not (found := slurm.get_job(job_id)).final:
        if not running and found.batch_host:
            started, running, pause = clock.now(), True, SHORTEST_POLL_SECONDS
        if clock.now() - started > limit_seconds:
            slurm.cancel(job_id)
            waited = f"{limit_seconds:.0f} s (timeLimitSeconds)"
            why = f": {found.reason}" if found.reason else ""
            late = f"didn't end within {waited}" if running else f"waited in the queue longer than {waited}{why}"
            return _wait_for_end(slurm, clock, job_id), late
        clock.sleep(pause)
        pause = min(LONGEST_POLL_SECONDS, pause * 1.5)
    return found, ""


def find_problems(job: SlurmJob, found: JobState, output: str) -> Iterable[str]:
    """Tell which expectations don't hold of a job that has ended."""
    expect = job.expect
    if found.state not in ENDED_BY_ITSELF:
        yield f"Slurm ended it as {found.state}" + (f": {found.reason}" if found.reason else "")
    elif found.signal:
        yield f"signal {found.signal} ended it"
    if found.exit_code != expect.exit_code:
        yield f"its exit code is {found.exit_code}, not {expect.exit_code}"
    if expect.output is not None and re.search(expect.output, output, re.MULTILINE) is None:
        yield f"its output doesn't match {expect.output!r}"
    if expect.every_node:
        silent = [host for host in parse_hostlist(found.nodes) if not _names(host, output)] if found.nodes else []
        if silent or not found.nodes:
            yield f"its output names not every node, but misses {', '.join(silent[:8]) or 'all'}"


def _wait_for_end(slurm: Slurm, clock: Clock, job_id: int) -> JobState:
    """Wait until a job that was cancelled has ended; if Slurm can't end it, its present state has to do."""
    deadline = clock.now() + CANCEL_SECONDS
    while not (found := slurm.get_job(job_id)).final and clock.now() < deadline:
        clock.sleep(SHORTEST_POLL_SECONDS)
    return found


def _names(host: str, output: str) -> bool:
    """Tell whether a host name stands in a text as a word of its own: oxygen1 is not in oxygen10."""
    return re.search(rf"(?<![\w-]){re.escape(host)}(?![\w-])", output) is not None
