"""The course of a pass over a pool: the GitLab runner first, then the pods, at last the end of the runner. Pure.

The runner is seen to first, because all other facts depend on it. Each of its questions and steps is a step of the
pass: it is decided here, and its answer is part of the reading from which the next one is decided.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.kinds.runnerpool.decide import Plan, begin, decide
from bessemer.kinds.runnerpool.demand.interest import Polls
from bessemer.kinds.runnerpool.facts import Facts, RunnerFact
from bessemer.kinds.runnerpool.plan import EndRunner, Scaling, Step
from bessemer.kinds.runnerpool.runner import plan as runner
from bessemer.kinds.runnerpool.runner.decide import decide_runner, decide_unused
from bessemer.kinds.runnerpool.runner.ending import EndFacts, decide_end
from bessemer.kinds.runnerpool.runner.facts import RunnerFacts


@dataclass(frozen=True)
class Reading:
    """What a pass knows about a pool, and what it has already executed for its pods."""

    pool: RunnerPool
    polls: Polls | None = None
    """The pool's current polls."""
    changes: int = 0
    """How many changes of the pool's Secrets have been heard of before anything was read."""
    fresh: RunnerFact | None = None
    """The runner, if nothing about it needs to be read, or after it was read."""
    runner: RunnerFacts | None = None
    """Facts about the runner of a pool in use; None: not read in this pass."""
    facts: Facts | None = None
    """None before the runner's last step."""
    due: frozenset[int] = frozenset()
    """Slots whose runner managers must be deleted in GitLab now."""
    done: Scaling | None = None
    end: EndFacts | None = None
    """Facts about the runner of a deleted pool without pods; None: not read in this pass."""


@dataclass(frozen=True)
class ReadRunner:
    """Read the user's Secrets, the pool's own, and the runner's account."""


@dataclass(frozen=True)
class KeepRunner:
    """Execute one question or step that brings the GitLab runner in line with the spec."""

    decision: runner.Plan


@dataclass(frozen=True)
class ConcludeRunner:
    """Remember what was found out about the runner."""

    decision: runner.Plan


@dataclass(frozen=True)
class ReadPods:
    """Read the pods and the waiting jobs."""

    runner: RunnerFact


@dataclass(frozen=True)
class ForgetManagers:
    """Delete runner managers of pods that are gone in GitLab, as far as possible."""

    slots: frozenset[int]


@dataclass(frozen=True)
class DeleteLeft:
    """Execute one question or step that deletes what GitLab has of a deleted pool's runner."""

    decision: runner.Plan


@dataclass(frozen=True)
class ConcludeEnd:
    """Remember whether GitLab still has anything of a deleted pool's runner."""

    decision: runner.Plan


RunnerStep = ReadRunner | KeepRunner | ConcludeRunner | ReadPods | ForgetManagers | DeleteLeft | ConcludeEnd
"""A step before the decision about the pods, or after the last pod of a deleted pool is gone."""


def decide_step(reading: Reading, now: datetime) -> Plan[Step | RunnerStep]:
    """Return the next step of a pass, and the new status if there is none."""
    if reading.facts is None:
        return begin(reading.pool, _decide_runner(reading, now))
    if reading.due:
        return begin(reading.pool, ForgetManagers(reading.due))
    plan: Plan[Step | RunnerStep] = decide(reading.facts, now, reading.done)
    if not isinstance(plan.step, EndRunner) or reading.end is None:
        return plan
    end = decide_end(reading.end, now)
    return replace(plan, step=DeleteLeft(end) if end.step is not None else ConcludeEnd(end))


def _decide_runner(reading: Reading, now: datetime) -> RunnerStep:
    pool = reading.pool
    if pool.spec is None or pool.deleted is not None:
        unused = decide_unused(pool, reading.polls)
        if unused.step is not None:
            return KeepRunner(unused)
        return ReadPods(RunnerFact(False, unused.reason, id=pool.status.runner.id))
    if reading.fresh is not None:
        return ReadPods(reading.fresh)
    if reading.runner is None:
        return ReadRunner()
    decision = decide_runner(reading.runner, now)
    return KeepRunner(decision) if decision.step is not None else ConcludeRunner(decision)
