"""Whatever stands in a pod, no pass fails of it: its labels, its last word, its status are written by others."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bessemer.engine import status
from bessemer.engine.cache import ChildCache
from bessemer.gitlab.protocol import PendingJob, PendingJobs
from bessemer.kinds.runnerpool.demand import sources
from bessemer.kinds.runnerpool.demand.board import Board
from bessemer.kinds.runnerpool.facts import JobPodFact, RunnerPodState
from bessemer.kinds.runnerpool.pods.cache import PodCache
from bessemer.kinds.runnerpool.pods.job_pods import parse_job_pod
from bessemer.kinds.runnerpool.pods.runner_pods import parse_runner_pod
from bessemer.kube.protocol import PODS, RESOURCE_QUOTAS
from tests.support.examples import examples
from tests.support.pool_world import KEY, PoolWorld, open_pool_world

RUNS: dict[str, Any] = {"running": {"startedAt": "2026-03-02T06:00:00Z"}}
NO_IMAGE: dict[str, Any] = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
BROKEN_CONFIG: dict[str, Any] = {"waiting": {"reason": "CreateContainerConfigError", "message": "no Secret"}}
ENDED: dict[str, Any] = {"terminated": {"exitCode": 0, "reason": "Completed"}}
FAILED: dict[str, Any] = {"terminated": {"exitCode": 3, "reason": "Error", "message": "no space"}}
LAST_WORDS = [
    '{"jobs":[1e999]}',
    "[" * 5000,
    '{"outcome":[1],"jobs":[]}',
    '{"outcome":"JobTaken","jobs":[7],"said":[]}',
    '{"outcome":"JobTaken","jobs":' + json.dumps(list(range(1, 901))) + "}",
    '{"outcome":"JobTaken","jobs":[-7]}',
    '{"outcome":"JobTaken","jobs":[7.5]}',
    '{"outcome":"JobTaken","jobs":["7"]}',
    '{"outcome":"JobTaken","jobs":[true]}',
    '{"outcome":"JobTaken"}',
    '{"outcome":"Welcome","jobs":[]}',
    '{"outcome":"JobTaken","jobs":[' + "9" * 4000 + "]}",
    "null",
    "7",
    "Welcome",
    "\ud800",
]
_LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
_ANY = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner), max_leaves=5
)
_TIMES = st.sampled_from(["2026-03-02T06:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "yesterday"]) | _ANY
_WORDS = st.sampled_from(["Error", "Completed", "", "x" * 200, "two words", "\x1b]0;pwned\x07"]) | _ANY
_LAST = st.sampled_from(LAST_WORDS) | _ANY
_STATES = st.fixed_dictionaries(
    {},
    optional={
        "waiting": st.fixed_dictionaries({}, optional={"reason": _WORDS, "message": _WORDS}) | _ANY,
        "running": st.fixed_dictionaries({}, optional={"startedAt": _TIMES}) | _ANY,
        "terminated": st.fixed_dictionaries(
            {},
            optional={
                "exitCode": st.sampled_from([0, 1, 137]) | _ANY,
                "reason": _WORDS,
                "message": _LAST,
                "startedAt": _TIMES,
                "finishedAt": _TIMES,
            },
        )
        | _ANY,
    },
)
_CONTAINERS = (
    st.lists(
        st.fixed_dictionaries(
            {}, optional={"name": st.sampled_from(["runner", "config", "docker", "istio"]) | _ANY, "state": _STATES}
        )
        | _ANY,
        max_size=3,
    )
    | _ANY
)
_STATUSES = st.fixed_dictionaries(
    {},
    optional={
        "phase": st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"]) | _ANY,
        "reason": _WORDS,
        "message": _WORDS,
        "conditions": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "type": st.sampled_from(["DisruptionTarget", "PodScheduled"]) | _ANY,
                    "status": st.sampled_from(["True", "False"]) | _ANY,
                    "reason": _WORDS,
                    "message": _WORDS,
                    "lastTransitionTime": _TIMES,
                },
            )
            | _ANY,
            max_size=2,
        )
        | _ANY,
        "initContainerStatuses": _CONTAINERS,
        "containerStatuses": _CONTAINERS,
    },
)
_METADATA = st.fixed_dictionaries(
    {},
    optional={
        "deletionTimestamp": _TIMES,
        "deletionGracePeriodSeconds": st.sampled_from([0, 30, 2**63 - 1]) | _ANY,
        "annotations": st.dictionaries(
            st.sampled_from(["bessemer.dev/job", "bessemer.dev/sent-at", "bessemer.dev/template"]),
            st.sampled_from(["7", "8", "any", "nightly", "9" * 5000, "-1", "0", "9999-12-31T23:59:59Z"]) | _ANY,
        )
        | _ANY,
    },
)
_SPECS = st.fixed_dictionaries(
    {},
    optional={
        "nodeName": st.sampled_from(["n", ""]) | _ANY,
        "terminationGracePeriodSeconds": st.sampled_from([2**63 - 1, -(2**63), 0, 3660]) | _ANY,
    },
)
_PODS = st.fixed_dictionaries({"metadata": _METADATA, "spec": _SPECS, "status": _STATUSES})


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), _ANY | _METADATA | _STATUSES) | _PODS)
def test_no_pod_makes_reading_it_fail(raw: dict[str, Any]) -> None:
    pod = parse_runner_pod(raw)
    assert pod.may_have_had_job in (True, False)
    assert len(pod.claimed) <= 64
    assert pod.reason == "" or pod.reason.isalnum()
    assert pod.message.isprintable()
    assert parse_job_pod(raw)[1].deleted in (True, False)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SPACING_SECONDS", 0.0)
    monkeypatch.setattr(status, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(status, "INTERVAL_SECONDS", 1e-9)


@pytest.mark.usefixtures("fast")
@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd=_PODS)
async def test_no_pod_makes_a_pass_fail_nor_the_deletion_of_its_pool(odd: dict[str, Any]) -> None:
    async with open_pool_world() as world:
        await world.apply(min=1)
        await world.settle(3)
        world.start_pods()
        world.queue(7)
        await world.settle(2)
        await _spoil(world, odd)
        world.queue(8, 9)
        for _ in range(3):
            await world.settle(2)
            world.pass_time(120)
        await world.restart_operator()
        await world.settle(3)
        assert {condition["type"] for condition in world.status()["conditions"]} >= {"Ready", "DemandKnown"}
        world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
        await world.settle(3)
        for name in world.pods():
            world.kubernetes.objects.pop(("pods", KEY[0], name))
        await world.settle(4)
        assert ("runnerpools", *KEY) not in world.kubernetes.objects


async def _spoil(world: PoolWorld, odd: dict[str, Any]) -> None:
    """Write into a pod what others may, and make a foreign one that looks like it; a quota has all looked at."""
    name, raw = next(iter(world.pods().items()))
    metadata = raw["metadata"] | odd["metadata"]
    changed = raw | {"metadata": metadata, "spec": raw["spec"] | odd["spec"], "status": odd["status"]}
    world.kubernetes.objects["pods", KEY[0], name] = changed
    foreign = {"metadata": raw["metadata"] | {"name": "innocent"}, "spec": {}, "status": odd["status"]}
    await world.kubernetes.create_object(PODS, KEY[0], json.loads(json.dumps(foreign)))
    quota = {"metadata": {"name": "q"}, "status": {"hard": {"pods": "20"}, "used": {"pods": "2"}}}
    await world.kubernetes.create_object(RESOURCE_QUOTAS, KEY[0], quota)


@pytest.mark.parametrize("word", LAST_WORDS)
async def test_a_pod_with_an_unreadable_termination_message_has_failed_and_its_job_gets_another_pod(
    world: PoolWorld, word: str
) -> None:
    await world.run_job(7)
    name = next(iter(world.pods()))
    world.pass_time(60)
    end = {"exitCode": 0, "message": word, "finishedAt": world.clock[0].isoformat()}
    world.kubernetes.edit(
        "pods", KEY[0], name, {"status": {"containerStatuses": [{"name": "runner", "state": {"terminated": end}}]}}
    )
    world.queue(8)
    await world.settle()
    world.pass_time(5)
    world.queue()
    await world.settle()
    assert any("EndUnreadable" in event and "job 7" in event for event in world.events("PodFailed"))
    assert world.events("PodLost") == []
    sent = {raw["metadata"]["annotations"].get("bessemer.dev/job") for raw in world.pods().values()}
    assert sent == {"7", "8"}, "GitLab says that job 7 waits, whatever its pod said"
    assert world.condition("Ready")[0] == "True"


def test_a_job_is_closed_by_the_pod_that_was_sent_for_it_and_by_no_other() -> None:
    board, began = Board(), datetime(2026, 3, 2, tzinfo=UTC)
    board.put_poll(
        PendingJobs(tuple(PendingJob(number, "hpc/simulations", frozenset()) for number in (7, 8, 9))), began
    )
    assert board.put_tried(7, (7, 8, 9), began), "GitLab is asked"
    assert [waiting.job.id for waiting in board.list_jobs()] == [8, 9]
    assert not board.put_tried(8, (8,), began)
    assert [waiting.job.id for waiting in board.list_jobs()] == [9]


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        # The runner's own container decides: an injected one that can't start keeps the phase at Pending.
        ({"containerStatuses": [("runner", RUNS), ("vault-agent", NO_IMAGE)]}, RunnerPodState.RUNNING),
        ({"containerStatuses": [("vault-agent", BROKEN_CONFIG), ("runner", RUNS)]}, RunnerPodState.RUNNING),
        ({"containerStatuses": [("runner", RUNS), ("istio-proxy", {})]}, RunnerPodState.RUNNING),
        ({"containerStatuses": [("runner", RUNS), ("istio-proxy", FAILED)]}, RunnerPodState.RUNNING),
        (
            {"initContainerStatuses": [("docker", NO_IMAGE)], "containerStatuses": [("runner", RUNS)]},
            RunnerPodState.RUNNING,
        ),
        ({"containerStatuses": [("runner", ENDED), ("vault-agent", NO_IMAGE)]}, RunnerPodState.FINISHED),
        ({"containerStatuses": [("runner", FAILED), ("vault-agent", NO_IMAGE)]}, RunnerPodState.FAILED),
        ({"containerStatuses": [("runner", NO_IMAGE), ("istio-proxy", RUNS)]}, RunnerPodState.STARTING),
        ({"containerStatuses": [("runner", {}), ("istio-proxy", RUNS)]}, RunnerPodState.STARTING),
        ({"containerStatuses": [("istio-proxy", RUNS)]}, RunnerPodState.STARTING),
    ],
)
def test_the_runners_own_container_decides_how_its_pod_is(
    statuses: dict[str, list[tuple[str, dict[str, Any]]]], state: RunnerPodState
) -> None:
    named = {kind: [{"name": name, "state": of} for name, of in each] for kind, each in statuses.items()}
    metadata = {"name": "lab-runner-0", "annotations": {"bessemer.dev/job": "7"}}
    raw = {"metadata": metadata, "spec": {"nodeName": "n"}, "status": {"phase": "Pending", **named}}
    assert parse_runner_pod(raw).state is state


def test_a_runner_that_ended_well_has_done_so_although_a_sidecar_of_its_pod_failed() -> None:
    word = {"terminated": {"exitCode": 0, "message": '{"outcome":"JobTaken","jobs":[7]}'}}
    containers = [{"name": "runner", "state": word}, {"name": "istio-proxy", "state": FAILED}]
    pod = parse_runner_pod({"metadata": {}, "status": {"phase": "Failed", "containerStatuses": containers}})
    assert (pod.state, pod.claimed) == (RunnerPodState.FINISHED, (7,))


def test_of_several_init_containers_the_one_that_failed_is_told() -> None:
    inits = [{"name": "config", "state": ENDED}, {"name": "istio-init", "state": FAILED}]
    pod = parse_runner_pod({"metadata": {}, "status": {"phase": "Failed", "initContainerStatuses": inits}})
    assert (pod.state, pod.reason, pod.message) == (RunnerPodState.FAILED, "InitContainerFailed", "no space")


async def test_a_pod_with_a_job_is_kept_although_an_injected_container_cannot_start(world: PoolWorld) -> None:
    await world.run_job(7)
    name = next(iter(world.pods()))
    containers = [{"name": "runner", "state": RUNS}, {"name": "vault-agent", "state": NO_IMAGE}]
    world.kubernetes.edit("pods", KEY[0], name, {"status": {"phase": "Pending", "containerStatuses": containers}})
    world.gitlab.jobs.clear()
    world.pass_time(60)
    await world.settle()
    await world.apply(runner={"tokenSecret": {"name": "runner"}, "tags": ["hpc"], "maximumTimeoutSeconds": 7200})
    await world.settle()
    assert "deletionTimestamp" not in world.pods()[name]["metadata"]
    assert (world.status()["running"], world.condition("Ready")[0]) == (1, "True")


def test_the_pods_of_jobs_are_remembered_once_each_however_often_they_change_their_pool() -> None:
    pods: ChildCache[JobPodFact] = ChildCache()
    for number in range(1000):
        raw = {"metadata": {"name": "job", "uid": "u", "annotations": {"bessemer.dev/pool": f"pool-{number}"}}}
        pool, pod = parse_job_pod(raw)
        assert pods.put(("ci", pool), pod)
    assert [pods.list_of(("ci", f"pool-{number}")) for number in range(1000)] == [[]] * 999 + [[pod]]
    pods.drop("ci", "job")
    assert vars(pods) == vars(ChildCache()), "nothing is left of it"


async def test_nothing_is_kept_of_pods_that_only_look_like_a_pools_nor_of_a_pool_that_is_gone(world: PoolWorld) -> None:
    await world.apply(min=1)
    await world.settle()
    _, raw = next(iter(world.pods().items()))
    for number in range(200):
        foreign = {"metadata": raw["metadata"] | {"name": f"lab-runner-{10_000 + number}"}, "spec": {}}
        await world.kubernetes.create_object(PODS, KEY[0], json.loads(json.dumps(foreign)))
    world.memory.pods = PodCache()  # as in a new process: they are listed
    await world.settle()
    assert len(world.memory.pods.list_pods()) == 1
    world.kubernetes.objects.pop(("runnerpools", *KEY))
    await world.step()
    assert world.deps.memories.find(KEY) is None
    assert vars(world.deps.job_pods) == vars(ChildCache())
