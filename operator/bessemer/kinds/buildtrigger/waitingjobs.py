"""Which builds a job still wants, and when GitLab is asked whether the job runs. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from bessemer.kinds.buildtrigger.facts import Facts
from bessemer.kinds.buildtrigger.plan import AskJob, Move
from bessemer.kinds.buildtrigger.queue import is_awaited
from bessemer.kinds.buildtrigger.records import Record

SILENT_SECONDS = 60.0
"""How long a job that waits for its build may be silent before GitLab is asked whether it still runs."""


def find_disinterest(facts: Facts, record: Record) -> tuple[str, str] | None:
    """Return why a job does not want its build any more; None for one that does, or where that is not known."""
    if not is_awaited(record):
        return None
    if record.unwanted:
        return "JobAborted", "the job that asked for it has taken that back"
    job = facts.jobs.get(record.name)
    return ("JobOver", "the job that asked for it does not run any more") if job is not None and job.over else None


def list_questions(facts: Facts, now: datetime) -> list[tuple[float, Record]]:
    """List the jobs that wait for a build, with the seconds until GitLab must be asked whether they still run."""
    found = []
    for record in facts.records.own:
        job = facts.jobs.get(record.name)
        if job is not None and not job.over and is_awaited(record):
            last = max(job.heard_at, job.asked_at or job.heard_at)
            found.append((SILENT_SECONDS - (now - last).total_seconds(), record))
    return sorted(found, key=lambda one: one[0])


def ask_job(questions: list[tuple[float, Record]]) -> Move | None:
    """Return the question whether a job runs, if one is due."""
    due = next((record for seconds, record in questions if seconds <= 0), None)
    return Move("JobSilent", f"the job of {due.name} was not heard of", AskJob(due)) if due is not None else None


def wake_for(move: Move, questions: list[tuple[float, Record]]) -> Move:
    """Return a decision that is looked at again when the next job must be asked about."""
    # One that is due already waits for something else, such as the end of a pause.
    seconds = next((seconds for seconds, _ in questions if seconds > 0), None)
    if move.step is not None or seconds is None:
        return move
    return replace(move, wake_after=seconds if move.wake_after is None else min(move.wake_after, seconds))
