"""One verification job: submitted, watched, its output read and compared with what is expected of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence

from bessemer.api.clusterbuild.verification import SlurmJob
from bessemer.api.phase_contract import JobResult
from bessemer.errors import Invalid
from bessemer.foreign import make_line
from bessemer.machines.clock import Clock, Terminated
from bessemer.machines.hostlists import HOSTLIST_LIMIT, parse_hostlist
from bessemer.machines.slurm import JobState, JobUnknown, Slurm, SlurmFailed
from bessemer.machines.ssh import SshFailure
from bessemer.phases.patterns import clean_output, decide_job_errors, find_named, is_found

SHORTEST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 3.0
ANSWER_SECONDS = 60.0
"""How long the controller may be silent while a job runs; it takes seconds to start again."""
CANCEL_SECONDS = 60.0
"""How long Slurm may take to end a job; KillWait, after which it kills, is 30 s by default."""
TIME_WAS_UP = "the phase's time was up (deadlines.phaseSeconds)"
TAIL_CHARACTERS = 1024
ENDED_BY_ITSELF = ("COMPLETED", "FAILED")
"""States of a job whose script ran to its end; its exit code says the rest."""

_log = logging.getLogger(__name__)


def check_jobs(jobs: Iterable[SlurmJob]) -> None:
    """Check that jobs are such as Slurm takes, and that what is expected of outputs are regular expressions.

    Raises:
        Invalid: one is not; names the job.
    """
    for job in jobs:
        for error in decide_job_errors(job):
            raise error


def run_job(slurm: Slurm, clock: Clock, job: SlurmJob, hosts: Sequence[str], end: float = math.inf) -> JobResult:
    """Run a job on some or all of the hosts, until the clock says ``end``; whatever Slurm makes of it is a result.

    Raises:
        Invalid: its script asked for several jobs; they are ended.
        SshFailure: the management node can't be reached.
        Terminated: the pod is being stopped; the job is ended.
    """
    wanted = len(hosts) if job.nodes == "All" else int(job.nodes)
    if wanted > len(hosts):
        return build_unsubmitted(job, f"it needs {wanted} nodes, {len(hosts)} are ready")
    if clock.now() >= end:
        return build_unsubmitted(job, TIME_WAS_UP)
    try:
        job_id = slurm.submit(job, hosts)
    except SlurmFailed as error:
        return build_unsubmitted(job, make_line(error.message))
    _log.info("job %s has number %d", job.name, job_id)
    try:
        found, late = watch(slurm, clock, job_id, float(job.time_limit_seconds), end)
    except (Invalid, Terminated):
        _try_to_cancel(slurm, job_id)
        raise
    except JobUnknown as error:
        message = make_line(f"how it ended is not known: {error.message}")
        return JobResult(name=job.name, job_id=job_id, passed=False, state="UNKNOWN", message=message)
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
        nodes=make_line(found.nodes, HOSTLIST_LIMIT),
        message=make_line("; ".join([late] if late else problems)),
        output_tail=clean_output(output)[-TAIL_CHARACTERS:],
    )


def build_unsubmitted(job: SlurmJob, why: str) -> JobResult:
    """Build the result of a job that never was in Slurm's queue."""
    return JobResult(name=job.name, passed=False, state="NOT_SUBMITTED", message=why)


def watch(slurm: Slurm, clock: Clock, job_id: int, limit_seconds: float, end: float = math.inf) -> tuple[JobState, str]:
    """Watch a job until it has ended: the limit holds for its wait in the queue and again for its run.

    A job that takes longer is ended; gives its last state, and what took too long.
    """
    started, running, pause = clock.now(), False, SHORTEST_POLL_SECONDS
    while not (found := _look(slurm, clock, job_id, end)).final:
        if not running and found.batch_host:
            started, running, pause = clock.now(), True, SHORTEST_POLL_SECONDS
        if clock.now() >= end:
            return _end(slurm, clock, job_id, found, end), f"had not ended when {TIME_WAS_UP}{_say_reason(found)}"
        if clock.now() - started > limit_seconds:
            limit = f"{limit_seconds:.0f} s (timeLimitSeconds)"
            queued = f"waited in the queue longer than {limit}{_say_reason(found)}"
            return _end(slurm, clock, job_id, found, end), f"didn't end within {limit}" if running else queued
        clock.sleep(pause)
        pause = min(LONGEST_POLL_SECONDS, pause * 1.5)
    return found, ""


def find_problems(job: SlurmJob, found: JobState, output: str) -> Iterable[str]:
    """Return which expectations don't hold of a job that has ended."""
    expect = job.expect
    if found.state not in ENDED_BY_ITSELF:
        yield f"Slurm ended it as {found.state}{_say_reason(found)}"
    elif found.signal:
        yield f"signal {found.signal} ended it"
    if found.exit_code != expect.exit_code:
        yield f"its exit code is {found.exit_code}, not {expect.exit_code}"
    if expect.output is not None and not is_found(expect.output, output):
        yield f"its output doesn't match {expect.output!r}"
    if expect.every_node:
        hosts = _list_nodes(found)
        named = find_named(hosts, output)
        silent = [host for host in hosts if host not in named]
        if silent or not hosts:
            yield f"its output names not every node, but misses {', '.join(silent[:8]) or 'all'}"


def _say_reason(found: JobState) -> str:
    return f": {found.reason}" if found.reason else ""


def _list_nodes(found: JobState) -> tuple[str, ...]:
    """List the nodes of a job; none where it has none, or where they can't be read."""
    try:
        return parse_hostlist(found.nodes) if found.nodes else ()
    except ValueError:
        return ()


def _look(slurm: Slurm, clock: Clock, job_id: int, end: float) -> JobState:
    """Look how a job stands; a controller that doesn't answer for a while has not ended it.

    Raises:
        JobUnknown: Slurm has forgotten it.
        SlurmFailed, SshFailure: no answer for too long.
    """
    deadline = min(end, clock.now() + ANSWER_SECONDS)
    while True:
        try:
            return slurm.get_job(job_id)
        except JobUnknown:
            raise
        except (SlurmFailed, SshFailure) as error:
            if clock.now() >= deadline:
                raise
            _log.warning("job %d: %s", job_id, error.message)
        clock.sleep(LONGEST_POLL_SECONDS)


def _end(slurm: Slurm, clock: Clock, job_id: int, found: JobState, end: float) -> JobState:
    """End a job and return its last state: the present one where Slurm can't end it, or doesn't say."""
    _try_to_cancel(slurm, job_id)
    deadline = min(end, clock.now() + CANCEL_SECONDS)
    try:
        while not (found := slurm.get_job(job_id)).final and clock.now() < deadline:
            clock.sleep(SHORTEST_POLL_SECONDS)
    except (SlurmFailed, SshFailure) as error:
        _log.warning("job %d: %s", job_id, error.message)
    return found


def _try_to_cancel(slurm: Slurm, job_id: int) -> None:
    """End a job; one that can't be ended now is when the next of its name is submitted."""
    try:
        slurm.cancel(job_id)
    except (SlurmFailed, SshFailure) as error:
        _log.warning("job %d is not cancelled: %s", job_id, error.message)
