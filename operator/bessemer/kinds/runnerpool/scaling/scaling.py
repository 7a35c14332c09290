"""Which pods to create, send or remove: a pure function from facts and the time to actions with their reasons.

Waiting pods have not contacted GitLab, so they can be sent or deleted at any time. A pod that was sent is never
deleted: it has a job, or ends within seconds. A pod that polls for any job, because the waiting jobs are unknown, may
poll forever: it is drained, so that it finishes a job that it may have and takes no other. Because it may have a job,
it counts toward max until it has ended.
"""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bessemer.api.reasons import QUOTA_EXCEEDED
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.api.runnerpool.status import BackOff
from bessemer.engine.plan import Reason
from bessemer.kinds.runnerpool.demand.numbers import compute_answered, compute_unserved
from bessemer.kinds.runnerpool.facts import ANY_JOB, Facts, RunnerPodFact, RunnerPodState, WaitingJob
from bessemer.kinds.runnerpool.plan import CREATED, Action, CollectPod, CreatePod, Limit, RetirePod, Scaling, SendPod
from bessemer.kinds.runnerpool.scaling.backoff import describe_cause

START_PATIENCE = timedelta(seconds=15)
"""A younger pod may have started and taken its job before its events reached us."""


@dataclass
class _Draft:
    """A decision under construction."""

    facts: Facts
    spec: RunnerPoolSpec
    now: datetime
    min: int
    back_off: BackOff | None
    actions: list[Action] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    limit: Limit | None = None
    dues: list[datetime] = field(default_factory=list)

    def note(self, reason: str, message: str) -> None:
        self.reasons.append(Reason(reason, message))


def decide_scaling(
    facts: Facts, spec: RunnerPoolSpec, minimum: int, back_off: BackOff | None, now: datetime
) -> Scaling:
    """Return the actions on the pods of a pool that is not deleted and has a runner."""
    draft = _Draft(facts, spec, now, minimum, back_off)
    _collect(draft)
    kept = _retire_outdated(draft)
    asking = _retire_outdated_asking(draft)
    _retire_needless(draft)
    unserved = compute_unserved(facts.demand, facts.pods.values(), now)
    unserved, kept = _send(draft, unserved, kept)
    if facts.demand.blind:
        kept = _send_blindly(draft, kept)
    left = _create_for_jobs(draft, unserved)
    _create_to_min(draft)
    _retire_surplus(draft, [*(pod for pod in kept if pod.state is RunnerPodState.IDLE), *asking])
    _add_dues(draft)
    wake = min(draft.dues) - now if draft.dues else None
    return Scaling(
        tuple(draft.actions),
        tuple(draft.reasons),
        draft.limit,
        max(wake, timedelta()) if wake is not None else None,
        left,
    )


def decide_rest(facts: Facts) -> Scaling:
    """Return only the removal of ended pods."""
    return Scaling(tuple(CollectPod(pod) for pod in facts.pods.values() if pod.ended))


def decide_drain(facts: Facts, reason: str) -> Scaling:
    """Remove all pods: waiting ones immediately, those with a job when it has finished."""
    live = [pod for pod in facts.list_live() if pod.state is not RunnerPodState.DRAINING]
    actions: list[Action] = [CollectPod(pod) for pod in facts.pods.values() if pod.ended]
    actions += [RetirePod(pod, reason) for pod in live]
    removed = f"{_count(live)} will be removed, each after the job that it may have"
    reasons = (Reason(reason, removed),) if live else ()
    return Scaling(tuple(actions), reasons)


def _collect(draft: _Draft) -> None:
    draft.actions += [CollectPod(pod) for pod in draft.facts.pods.values() if pod.ended]


def _retire_outdated(draft: _Draft) -> list[RunnerPodFact]:
    """Remove pods without a job that were created from an earlier spec; return the waiting pods that are kept."""
    wanted = draft.facts.runner.template
    idle = draft.facts.list_in(RunnerPodState.IDLE)
    idle += [pod for pod in draft.facts.list_in(RunnerPodState.STARTING) if pod.job is None]
    outdated = [pod for pod in idle if pod.template != wanted]
    # The reason why a sent pod does not start may be the very setting that was changed, such as its image.
    sent = [pod for pod in draft.facts.list_in(RunnerPodState.STARTING) if pod.job is not None]
    outdated += [pod for pod in sent if pod.template != wanted and pod.created + START_PATIENCE <= draft.now]
    if outdated:
        draft.actions += [RetirePod(pod, "Outdated") for pod in outdated]
        draft.note("Outdated", f"{_count(outdated)} made from an earlier spec, without a job: replaced")
    return [pod for pod in idle if pod.template == wanted]


def _retire_outdated_asking(draft: _Draft) -> list[RunnerPodFact]:
    """Drain pods that ask for any job and were created from an earlier spec, as far as max has room for replacements.

    Without room they are drained one by one, while the others keep asking. Returns the pods that are kept, those to
    drain next first.
    """
    longest = timedelta(seconds=draft.spec.runner.maximum_timeout_seconds)
    running = [pod for pod in draft.facts.list_in(RunnerPodState.RUNNING) if pod.job == ANY_JOB]
    # A pod whose grace period is shorter than a job would not finish one: it ends after its next job.
    asking = [pod for pod in running if pod.grace is None or pod.grace >= longest]
    wanted = draft.facts.runner.template
    outdated = [pod for pod in asking if pod.template != wanted]
    leaving = _count_leaving(draft)
    going = outdated[: max(draft.spec.max - _count_live(draft) - leaving, 0 if leaving else 1)]
    if going:
        draft.actions += [RetirePod(pod, "Outdated") for pod in going]
        draft.note("Outdated", f"{_count(going)} made from an earlier spec, to take no job any more: replaced")
    return sorted((pod for pod in asking if pod not in going), key=lambda pod: pod.template == wanted)


def _retire_needless(draft: _Draft) -> None:
    """Remove pods that don't start and were sent for jobs that no longer wait, such as cancelled ones.

    A pod that has unexpectedly got its job finishes it.
    """
    demand = draft.facts.demand
    if not demand.known:
        return
    waiting = {str(job.job.id) for job in demand.jobs}
    if waiting or demand.closed is not None:
        waiting |= {str(number) for number in demand.swapped}
    closed = None if demand.closed is None else {str(number) for number in demand.closed}
    stuck = [
        pod
        for pod in draft.facts.list_in(RunnerPodState.STARTING)
        if pod.job not in (None, ANY_JOB, *waiting)
        and (closed is None or pod.job in closed)
        and pod.created + START_PATIENCE <= draft.now
        and pod.template == draft.facts.runner.template
    ]
    if stuck:
        draft.actions += [RetirePod(pod, "JobGone") for pod in stuck]
        draft.note("Retired", f"{_count(stuck)} that did not start yet, as the job waits no more")


def _send(
    draft: _Draft, unserved: list[WaitingJob], waiting: list[RunnerPodFact]
) -> tuple[list[WaitingJob], list[RunnerPodFact]]:
    """Send waiting pods for jobs, running pods first."""
    pairs = list(zip(unserved, waiting, strict=False))
    if pairs:
        draft.actions += [SendPod(pod, str(job.job.id)) for job, pod in pairs]
        draft.note("Sent", f"{_count(pairs)} that waited, for {_jobs([job for job, _ in pairs])}")
    return unserved[len(pairs) :], waiting[len(pairs) :]


def _send_blindly(draft: _Draft, waiting: list[RunnerPodFact]) -> list[RunnerPodFact]:
    """Make pods poll for any job, because the waiting jobs are unknown."""
    draft.actions += [SendPod(pod, ANY_JOB) for pod in waiting]
    if waiting:
        draft.note("Sent", f"{_count(waiting)} that waited, to ask for themselves")
    return []


def _create_for_jobs(draft: _Draft, unserved: list[WaitingJob]) -> int:
    """Create pods for jobs as far as there is room; return the number of jobs left."""
    served = unserved[: _room(draft, len(unserved))] if unserved else []
    if served:
        slots = _free_slots(draft, len(served))
        draft.actions += [CreatePod(slot, str(job.job.id)) for slot, job in zip(slots, served, strict=False)]
        draft.note(CREATED, f"{_count(served)}, for {_jobs(served)}")
    return len(unserved) - len(served)


def _create_to_min(draft: _Draft) -> None:
    """Create pods up to min; if the waiting jobs are not known, these pods poll by themselves."""
    missing = draft.min - _count_live(draft)
    room = _room(draft, missing) if missing > 0 else 0
    if room <= 0:
        return
    job = ANY_JOB if draft.facts.demand.blind else None
    draft.actions += [CreatePod(slot, job) for slot in _free_slots(draft, room)]
    draft.note(CREATED, f"{_count(range(room))}, as min is {draft.min}")


def _retire_surplus(draft: _Draft, candidates: list[RunnerPodFact]) -> None:
    """Remove pods above min that wait or ask for any job: when they are old enough, or at once if max is exceeded."""
    live = _count_live(draft)
    over_max = max(0, live - draft.spec.max)
    surplus = max(0, live - draft.min)
    idle_time = timedelta(seconds=draft.spec.idle_seconds)
    going: list[RunnerPodFact] = []
    for pod in candidates[:surplus]:
        until = (pod.started or pod.created) + idle_time
        if len(going) < over_max or until <= draft.now:
            going.append(pod)
        else:
            draft.dues.append(until)
    if going:
        draft.actions += [RetirePod(pod, "Idle") for pod in going]
        asking = sum(pod.job == ANY_JOB for pod in going)
        which = f"{_count(going)} that waited" + (f", {asking} of them asking GitLab for themselves" if asking else "")
        draft.note("Retired", f"{which}, as at most {draft.min} may wait")


def _room(draft: _Draft, wanted: int) -> int:
    """Return for how many of the wanted pods there is room; record the tightest limit."""
    spec, facts = draft.spec, draft.facts
    created = sum(isinstance(action, CreatePod) for action in draft.actions)
    starting = len(facts.list_in(RunnerPodState.STARTING)) + created
    rooms = [
        (spec.max - _count_live(draft) - _count_leaving(draft), Limit("Max", f"max is {spec.max}")),
        (
            spec.max_starting - starting,
            Limit("Starting", f"starting: {starting}, and maxStarting is {spec.max_starting}"),
        ),
    ]
    if facts.headroom is not None:
        rooms.append((facts.headroom.pods - created, Limit(QUOTA_EXCEEDED, facts.headroom.message)))
    back_off = draft.back_off
    if back_off is not None and back_off.until is not None and back_off.until > draft.now:
        rooms.append((0, Limit("BackOff", describe_cause(back_off)[:1024])))
        draft.dues.append(back_off.until)
    room, limit = min(rooms, key=lambda pair: pair[0])
    if room < wanted:
        missing = wanted - max(room, 0)
        are = "is" if missing == 1 else "are"
        draft.limit = Limit(limit.reason, f"{missing} of {wanted} pods {are} not created: {limit.message}")
    return max(0, min(room, wanted))


def _count_live(draft: _Draft) -> int:
    """Return the number of pods that remain, without those that are being removed."""
    gone = sum(isinstance(action, RetirePod) for action in draft.actions)
    created = sum(isinstance(action, CreatePod) for action in draft.actions)
    live = [pod for pod in draft.facts.list_live() if pod.state is not RunnerPodState.DRAINING]
    return len(live) - gone + created


def _count_leaving(draft: _Draft) -> int:
    """Return the number of pods being removed that may still have a job for any length of time: those sent for one."""
    retired = [action.pod for action in draft.actions if isinstance(action, RetirePod)]
    gone = draft.facts.list_in(RunnerPodState.DRAINING) + [p for p in retired if p.state is RunnerPodState.RUNNING]
    return sum(pod.job is not None for pod in gone)


def _free_slots(draft: _Draft, count: int) -> list[int]:
    taken = {pod.slot for pod in draft.facts.pods.values()} | draft.facts.blocked
    taken |= {action.slot for action in draft.actions if isinstance(action, CreatePod)}
    # The lowest free slots, so that the same ones are reused; a slot is free when Kubernetes has removed its pod.
    return [slot for slot in range(len(taken) + count) if slot not in taken][:count]


def _add_dues(draft: _Draft) -> None:
    """Schedule a pass for the time by which a pod must have its answer, if its job still waits."""
    demand = draft.facts.demand
    waiting = {*(str(job.job.id) for job in demand.jobs), *map(str, demand.swapped)} if demand.jobs else set()
    running = draft.facts.list_in(RunnerPodState.RUNNING)
    answers = [compute_answered(pod) for pod in running if pod.job in waiting]
    pauses = [job.not_before for job in demand.jobs if job.not_before is not None]
    draft.dues += [due for due in answers + pauses if due > draft.now]


def _count(things: Sized) -> str:
    return "1 pod" if len(things) == 1 else f"{len(things)} pods"


def _jobs(jobs: list[WaitingJob]) -> str:
    numbers = [str(job.job.id) for job in jobs]
    shown = ", ".join(numbers[:5])
    if len(numbers) > 5:
        shown += f" and {len(numbers) - 5} more"
    return f"job {shown}" if len(numbers) == 1 else f"jobs {shown}"
