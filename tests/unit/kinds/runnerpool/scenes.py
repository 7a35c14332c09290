"""A pool in a scripted world: jobs come and go, pods start and end, each step decides and carries out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bessemer.api.runnerpool.resource import RunnerPool, parse_runner_pool
from bessemer.api.runnerpool.spec import Mode, RunnerPoolSpec
from bessemer.engine.event_facts import EventFact
from bessemer.gitlab.protocol import PendingJob, PendingJobs
from bessemer.kinds.runnerpool.decide import Plan, decide
from bessemer.kinds.runnerpool.demand.board import Board
from bessemer.kinds.runnerpool.facts import (
    Demand,
    Facts,
    Headroom,
    JobPodFact,
    RunnerFact,
    RunnerPodFact,
    RunnerPodState,
)
from bessemer.kinds.runnerpool.plan import CollectPod, CreatePod, EndJobPod, RetirePod, SendPod, Step
from bessemer.kinds.runnerpool.status import compute_events, compute_scaling_events

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
"""A Monday."""
SPEC: dict[str, Any] = {
    "gitlab": {
        "url": "http://gitlab.example",
        "scope": {"type": "Project", "path": "hpc/simulations"},
        "apiTokenSecret": {"name": "gitlab"},
    },
    "runner": {"tokenSecret": {"name": "runner"}, "tags": ["hpc"]},
}


def build_pool(**spec: Any) -> RunnerPool:
    return parse_runner_pool(
        {
            "metadata": {
                "namespace": "ci",
                "name": "lab",
                "uid": "11111111-2222-3333-4444-555555555555",
                "resourceVersion": "1",
                "finalizers": ["bessemer.dev/runners"],
            },
            "spec": SPEC | spec,
        }
    )


def build_spec(**spec: Any) -> RunnerPoolSpec:
    found = build_pool(**spec).spec
    assert found is not None, build_pool(**spec).spec_error
    return found


class Scene:
    """The world around a pool, and a log of what was decided in it."""

    def __init__(self, **spec: Any) -> None:
        self.now = START
        self.pool = build_pool(**spec)
        self.board = Board()
        self.blind = False
        self.headroom: Headroom | None = None
        self.template = "t1"
        self.pods: dict[int, RunnerPodFact] = {}
        self.job_pods: dict[str, JobPodFact] = {}
        self.quiet: datetime | None = None
        self.log: list[str] = []
        self.events: list[EventFact] = []
        self.plan: Plan[Step] | None = None

    def change_spec(self, **spec: Any) -> None:
        """The user applies another spec."""
        changed = build_pool(**spec)
        self.pool = replace(changed, generation=self.pool.generation + 1, status=self.pool.status)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def poll(self, *jobs: int, complete: bool = True) -> None:
        """GitLab says that these jobs wait, and no other; or, where the list is not complete, that there are others."""
        found = [PendingJob(job, "hpc/simulations", frozenset({"hpc"})) for job in jobs]
        self.board.put_poll(PendingJobs(tuple(found), complete), self.now)

    def start(self, *slots: int) -> None:
        """The pods of these slots run; those that were not sent wait."""
        for slot in slots:
            pod = self.pods[slot]
            state = RunnerPodState.RUNNING if pod.job else RunnerPodState.IDLE
            self.pods[slot] = replace(pod, state=state, started=self.now)

    def end(self, slot: int, *claimed: int, failed: str = "") -> None:
        """The pod of a slot ends, having had these jobs; a reason makes it a failure."""
        state = RunnerPodState.FAILED if failed else RunnerPodState.FINISHED
        pod = replace(self.pods[slot], state=state, finished=self.now, claimed=claimed)
        self.pods[slot] = replace(pod, reason=failed, message=failed.lower())

    def run_job(self, slot: int) -> str:
        """The manager in a slot runs a job in a separate pod; return the pod's name."""
        pod = JobPodFact(f"job-{len(self.job_pods)}", "uid", self.pods[slot].uid, leaving=False, deleted=False)
        self.job_pods[pod.name] = pod
        return pod.name

    def step(self) -> Plan[Step]:
        """Decide once, execute, and record what was done."""
        jobs, swapped = tuple(self.board.list_jobs()), self.board.list_swapped()
        closed = self.board.list_closed()
        demand = Demand(not self.blind, "Polled", jobs=jobs, swapped=swapped, closed=closed, blind=self.blind)
        runner = RunnerFact(ready=True, reason="Registered", template=self.template)
        pods = {pod.name: pod for pod in self.pods.values()}
        if demand.jobs or demand.blind or self.job_pods:
            self.quiet = None
        else:
            self.quiet = self.quiet or self.now
        facts = Facts(self.pool, demand, runner, pods, self.headroom)
        facts = replace(facts, job_pods=tuple(self.job_pods.values()), quiet_since=self.quiet)
        plan = decide(facts, self.now)
        if any(not isinstance(action, CollectPod) for action in plan.scaling.actions):
            assert plan.scaling.reasons, "every decision about scale has a reason, which becomes an event"
        self.events += [*compute_scaling_events(plan.scaling), *compute_events(facts, plan.status)]
        for action in plan.scaling.actions:
            match action:
                case CreatePod(slot, job):
                    self.pods[slot] = self._build_pod(slot, job)
                case SendPod(pod, job):
                    self.pods[pod.slot] = replace(pod, job=job, sent=self.now)
                    if pod.state is RunnerPodState.IDLE:
                        self.pods[pod.slot] = replace(self.pods[pod.slot], state=RunnerPodState.RUNNING)
                case RetirePod(pod, _):
                    self._retire(pod)
                case CollectPod(pod):
                    if pod.job and pod.job.isdecimal():
                        self.board.put_tried(int(pod.job), pod.claimed, self.now)
                    del self.pods[pod.slot]
                case EndJobPod(job_pod):
                    del self.job_pods[job_pod.name]
        seconds = (self.now - START).total_seconds()
        self.log += [f"{seconds:g} s: {why.reason}: {why.message}" for why in plan.scaling.reasons]
        if plan.scaling.limit:
            self.log.append(f"{seconds:g} s: limited: {plan.scaling.limit.reason}: {plan.scaling.limit.message}")
        self.pool = replace(self.pool, status=plan.status)
        self.plan = plan
        return plan

    def _retire(self, pod: RunnerPodFact) -> None:
        """What waits is gone at once, as is a manager; a pod that may have a job goes when that has ended."""
        del self.pods[pod.slot]
        spec = self.pool.spec
        if pod.state is RunnerPodState.RUNNING and spec is not None and spec.mode is Mode.PODS:
            self.pods[pod.slot] = replace(pod, state=RunnerPodState.DRAINING)

    def _build_pod(self, slot: int, job: str | None) -> RunnerPodFact:
        return RunnerPodFact(
            name=f"lab-runner-{slot}",
            uid=f"uid-{slot}-{self.now.timestamp()}",
            owner_uid=self.pool.uid,
            slot=slot,
            state=RunnerPodState.STARTING,
            created=self.now,
            job=job,
            sent=self.now if job else None,
            template=self.template,
        )
