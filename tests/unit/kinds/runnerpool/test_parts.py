"""Pods read, quotas counted, names made, schedules kept, the CRD."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.api.names import runner_pod_name, runner_system_id
from bessemer.api.runnerpool.crd import CRD
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.api.wellknown import JOB_ANNOTATION
from bessemer.crdgen import build_crd
from bessemer.kinds.runnerpool.facts import Headroom, JobPodFact, RunnerPodState
from bessemer.kinds.runnerpool.pods.cache import PodCache
from bessemer.kinds.runnerpool.pods.runner_pods import parse_runner_pod
from bessemer.kinds.runnerpool.scaling.quota import (
    compute_headroom,
    compute_owed,
    compute_want,
    list_claims,
    list_runner_costs,
)
from bessemer.kinds.runnerpool.scaling.schedule import compute_minimum
from bessemer.kinds.runnerpool.status import compute_loss
from tests.unit.kinds.runnerpool.scenes import build_pool, build_spec

CREATED = "2026-03-02T06:00:00Z"
CREATED_TIME = datetime(2026, 3, 2, 6, tzinfo=UTC)


def build_raw(status: dict[str, Any], version: int = 1, **metadata: Any) -> dict[str, Any]:
    own = {
        "name": "lab-runner-3",
        "uid": "u",
        "resourceVersion": str(version),
        "creationTimestamp": CREATED,
        "labels": {"bessemer.dev/slot": "3"},
    }
    return {"metadata": own | metadata, "spec": {"nodeName": "n"}, "status": status}


def running(**annotations: str) -> dict[str, Any]:
    state = {"running": {"startedAt": CREATED}}
    status = {"phase": "Running", "containerStatuses": [{"name": "runner", "state": state}]}
    return build_raw(status, annotations={f"bessemer.dev/{key}": value for key, value in annotations.items()})


def ended(message: str, exit_code: int = 0) -> dict[str, Any]:
    terminated = {"exitCode": exit_code, "message": message, "finishedAt": CREATED, "reason": "Error"}
    containers = [{"name": "runner", "state": {"terminated": terminated}}]
    return build_raw({"phase": "Failed" if exit_code else "Succeeded", "containerStatuses": containers})


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        (build_raw({"phase": "Pending"}), RunnerPodState.STARTING),
        (running(), RunnerPodState.IDLE),
        (running(job="7"), RunnerPodState.RUNNING),
        (running(job="any"), RunnerPodState.RUNNING),
        (
            running(job="7") | {"metadata": running()["metadata"] | {"deletionTimestamp": CREATED}},
            RunnerPodState.DRAINING,
        ),
        (ended('{"outcome":"JobTaken","jobs":[7]}'), RunnerPodState.FINISHED),
        (ended("", exit_code=1), RunnerPodState.FAILED),
        (build_raw({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}), RunnerPodState.FAILED),
    ],
)
def test_a_pod_falls_into_one_bucket(raw: dict[str, Any], state: RunnerPodState) -> None:
    assert parse_runner_pod(raw).state is state


@pytest.mark.parametrize(
    ("message", "jobs"),
    [('{"outcome":"JobTaken","jobs":[1001,1002]}', (1001, 1002)), ("OOM", ()), ("[]", ()), ('{"jobs":"x"}', ())],
)
def test_what_a_job_writes_as_the_pods_last_word_does_no_harm(message: str, jobs: tuple[int, ...]) -> None:
    assert parse_runner_pod(ended(message)).claimed == jobs


def test_an_evicted_pod_has_an_end_although_its_container_said_nothing() -> None:
    pod = parse_runner_pod(build_raw({"phase": "Failed", "reason": "Evicted"}))
    assert (pod.reason, pod.finished) == ("Evicted", datetime(2026, 3, 2, 6, tzinfo=UTC))


@pytest.mark.parametrize(
    ("message", "seconds", "silent", "perhaps"),
    [
        ("", 3, True, False),  # it can't have had a job yet: something is wrong with the pods
        ("", 60, True, True),  # killed with a job, or for having none to do
        ('{"outcome":"Forbidden","jobs":[]}', 60, False, False),
        ('{"outcome":"JobTaken","jobs":[7]}', 3, False, True),
    ],
)
def test_a_pod_that_was_killed_is_told_from_one_that_failed(
    message: str, seconds: int, silent: bool, perhaps: bool
) -> None:
    raw = ended(message, exit_code=137)
    end = raw["status"]["containerStatuses"][0]["state"]["terminated"]
    start = datetime.fromisoformat(end["finishedAt"]) - timedelta(seconds=seconds)
    end["startedAt"] = start.isoformat()
    pod = parse_runner_pod(raw)
    assert (pod.silent, pod.may_have_had_job) == (silent, perhaps)


def quota(name: str, hard: dict[str, str], used: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec, "status": {"hard": hard, "used": used}}


def test_the_tightest_quota_counts() -> None:
    resources = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    quotas = [
        quota("wide", {"pods": "100"}, {"pods": "3"}),
        quota("cpu", {"requests.cpu": "4"}, {"requests.cpu": "2250m"}),
        quota("memory", {"limits.memory": "16Gi"}, {"limits.memory": "4Gi"}),
        quota("scoped", {"pods": "0"}, {}, scopes=["BestEffort"]),
        quota("other", {"secrets": "1"}, {"secrets": "1"}),
    ]
    headroom = compute_headroom(quotas, list_runner_costs(build_spec(pod={"resources": resources})))
    assert headroom is not None
    assert headroom.pods == 3
    assert "ResourceQuota cpu: 2250m of 4 requests.cpu" in headroom.message


@pytest.mark.parametrize("kind", ["cpu", "memory", "ephemeral-storage", "hugepages-2Mi"])
@pytest.mark.parametrize("prefix", ["", "requests."])
def test_a_quota_may_leave_out_that_it_is_about_requests(kind: str, prefix: str) -> None:
    costs = list_runner_costs(build_spec(pod={"resources": {"requests": {kind: "2Gi"}}}))
    headroom = compute_headroom([quota("some", {f"{prefix}{kind}": "10Gi"}, {f"{prefix}{kind}": "5Gi"})], costs)
    assert headroom == Headroom(2, f"ResourceQuota some: 5Gi of 10Gi {prefix}{kind} are used")


@pytest.mark.parametrize(
    "odd",
    [
        quota("words", {"pods": "many"}, {}),
        quota("used", {"pods": "4"}, {"pods": ""}),
        quota("nan", {"pods": "NaN"}, {}),
        quota("endless", {"pods": "Infinity"}, {}),
        quota("scope", {"pods": "0"}, {}, scopeSelector={"matchExpressions": [{"operator": "In"}]}),
        quota("operator", {"pods": "0"}, {}, scopeSelector={"matchExpressions": [{"scopeName": "PriorityClass"}]}),
        {"metadata": {"name": "new"}},
    ],
)
def test_a_quota_that_cannot_be_read_limits_nothing_and_the_others_count(odd: dict[str, Any]) -> None:
    headroom = compute_headroom([odd, quota("real", {"pods": "3"}, {"pods": "1"})], list_runner_costs(build_spec()))
    assert headroom is not None
    assert headroom.pods == 2


def test_a_job_in_a_pod_of_its_own_counts_in_the_quota_too() -> None:
    executor = {
        "type": "Kubernetes",
        "kubernetes": {"image": "debian", "resources": {"requests": {"cpu": "1"}}},
    }
    spec = build_spec(pod={"resources": {"requests": {"cpu": "500m"}}}, executor=executor)
    quotas = [quota("cpu", {"requests.cpu": "4"}, {}), quota("pods", {"pods": "5"}, {})]
    headroom = compute_headroom(quotas, list_runner_costs(spec))
    assert headroom is not None
    assert headroom.pods == 2
    assert len(list_runner_costs(build_spec(mode="Manager", executor=executor))) == 1


@pytest.mark.parametrize(
    ("settings", "amounts"),
    [
        ({"cpu_request": "1", "memory_request": "4Gi"}, {"requests.cpu": 1, "requests.memory": 4 * 2**30}),
        ({"cpu_limit": "2"}, {"requests.cpu": 2, "limits.cpu": 2}),
        ({"cpu_request": "1", "helper_cpu_request": "500m"}, {"requests.cpu": Decimal("1.5")}),
        ({"service_cpu_request": "1", "services": [{"name": "a"}, {"name": "b"}]}, {"requests.cpu": 2}),
        ({"service_cpu_request": "1"}, {}),
        ({"cpu_request": "1", "pod_cpu_request": "5"}, {"requests.cpu": 5}),
        (
            {"helper_ephemeral_storage_limit": "1k"},
            {"limits.ephemeral-storage": 1000, "requests.ephemeral-storage": 1000},
        ),
    ],
)
def test_what_the_settings_ask_for_counts_in_the_quota(settings: dict[str, Any], amounts: dict[str, Decimal]) -> None:
    executor = {"type": "Kubernetes", "kubernetes": {"image": "debian", "settings": settings}}
    _, job = list_runner_costs(build_spec(executor=executor))
    assert job.amounts == {"pods": 1, "count/pods": 1} | amounts


def test_a_quota_of_the_priority_class_that_the_settings_give_to_jobs_counts() -> None:
    settings = {"priority_class_name": "batch"}
    spec = build_spec(executor={"type": "Kubernetes", "kubernetes": {"image": "debian", "settings": settings}})
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": ["batch"]}
    full = quota("batch", {"pods": "4"}, {"pods": "4"}, scopeSelector={"matchExpressions": [scope]})
    headroom = compute_headroom([full], list_runner_costs(spec))
    assert headroom is not None
    assert headroom.pods == 0


def test_room_is_kept_for_the_jobs_of_runners_that_are_there_and_have_no_pod_for_it_yet() -> None:
    executor = {"type": "Kubernetes", "kubernetes": {"image": "debian"}}
    alive, gone = parse_runner_pod(running()), parse_runner_pod(ended("no word"))
    pods = [replace(alive, uid="waits"), replace(alive, uid="works"), replace(gone, uid="gone")]
    job = JobPodFact("job", "uid", "works", leaving=False, deleted=False)
    assert compute_owed(build_spec(executor=executor), pods, [job]).times == 1
    assert compute_owed(build_spec(), pods, []).times == 0


def test_pools_of_higher_priority_have_room_first() -> None:
    now = CREATED_TIME
    gpu = build_spec(priority=10, pod={"resources": {"requests": {"cpu": "2"}}})
    cpu = build_spec(pod={"resources": {"requests": {"cpu": "1"}}})
    wants = {"gpu": compute_want(gpu, 2, now)}
    quotas = [quota("cpu", {"requests.cpu": "5"}, {})]

    def headroom(spec: RunnerPoolSpec, seen: datetime) -> Headroom:
        found = compute_headroom(quotas, list_runner_costs(spec), list_claims(wants, spec.priority, seen))
        assert found is not None
        return found

    kept = headroom(cpu, now)
    assert kept.pods == 1
    assert kept.message.endswith("0 of 5 requests.cpu are used, 4 kept for pool gpu, whose priority is 10")
    assert headroom(gpu, now).pods == 2  # of the same priority: first come, first served
    assert headroom(cpu, now + timedelta(minutes=1)).pods == 5  # a pool that does not ask again needs nothing any more


def select(scope: str, operator: str, *values: str) -> dict[str, Any]:
    own = {"scopeName": scope, "operator": operator}
    return {"scopeSelector": {"matchExpressions": [own | ({"values": list(values)} if values else {})]}}


@pytest.mark.parametrize(
    ("scopes", "room"),
    [
        ({"scopes": ["NotTerminating"]}, 4),  # the runner's pod
        ({"scopes": ["Terminating"]}, 2),  # the job's
        ({"scopes": ["NotBestEffort"]}, 1),  # both
        ({"scopes": ["BestEffort"]}, None),
        ({"scopes": ["Terminating", "BestEffort"]}, None),
        (select("PriorityClass", "In", "ci", "batch"), 4),
        (select("PriorityClass", "In", "batch"), None),
        (select("PriorityClass", "NotIn", "batch"), 1),
        (select("PriorityClass", "Exists"), 4),
        (select("PriorityClass", "DoesNotExist"), 2),
        (select("CrossNamespacePodAffinity", "Exists"), None),
    ],
)
def test_a_quota_with_scopes_counts_the_pods_in_all_of_them(scopes: dict[str, Any], room: int | None) -> None:
    executor = {"type": "Kubernetes", "kubernetes": {"image": "debian", "resources": {"requests": {"cpu": "2"}}}}
    pod = {"resources": {"requests": {"cpu": "1"}}, "priorityClassName": "ci"}
    costs = list_runner_costs(build_spec(pod=pod, executor=executor))
    headroom = compute_headroom([quota("scoped", {"requests.cpu": "4"}, {}, **scopes)], costs)
    assert (headroom.pods if headroom else None) == room


def test_room_is_kept_in_those_quotas_only_that_count_it() -> None:
    urgent = build_spec(priority=9, pod={"priorityClassName": "urgent"})
    wants = {"urgent": compute_want(urgent, 3, CREATED_TIME)}
    claims = list_claims(wants, 0, CREATED_TIME)
    costs = list_runner_costs(build_spec(pod={"priorityClassName": "nightly"}))
    of_nightly = quota("nightly", {"pods": "2"}, {}, **select("PriorityClass", "In", "nightly"))
    of_all = quota("all", {"pods": "4"}, {})
    assert [compute_headroom([one], costs, claims) for one in (of_nightly, of_all)] == [
        Headroom(2, "ResourceQuota nightly: 0 of 2 pods are used"),
        Headroom(1, "ResourceQuota all: 0 of 4 pods are used, 3 kept for pool urgent, whose priority is 9"),
    ]


def test_without_a_quota_that_counts_there_is_no_limit() -> None:
    assert compute_headroom([quota("other", {"secrets": "1"}, {})], list_runner_costs(build_spec())) is None


@given(st.uuids(), st.integers(min_value=0, max_value=999))
def test_a_slot_has_a_system_id_that_gitlab_runner_takes(uid: object, slot: int) -> None:
    assert re.fullmatch(r"[sr]_[0-9a-zA-Z]{12}", runner_system_id(str(uid), slot))


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True), st.integers(0, 999))
def test_the_name_of_a_runner_pod_is_always_valid(pool: str, slot: int) -> None:
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", runner_pod_name(pool, slot))
    assert len(runner_pod_name(pool, slot)) <= 63


def test_the_cache_keeps_the_later_of_two_observations_and_forgets_what_is_gone() -> None:
    cache = PodCache()
    later = parse_runner_pod(build_raw({"phase": "Running"}, version=5))
    earlier = parse_runner_pod(build_raw({"phase": "Pending"}, version=4))
    assert cache.put(later)
    assert not cache.put(earlier)
    assert cache.drop(later)
    assert not cache.put(earlier)
    assert cache.list_pods() == {}


def test_of_an_evicted_pod_that_the_kubelet_lost_sight_of_it_is_known_that_it_ran() -> None:
    """Kubernetes then says neither when its container started nor when it ended: ContainerStatusUnknown."""
    cache = PodCache()
    started = {"startedAt": "2026-03-02T06:00:05Z"}
    job = {JOB_ANNOTATION: "7"}
    runs = {"phase": "Running", "containerStatuses": [{"name": "runner", "state": {"running": started}}]}
    lost = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
    evicted: dict[str, Any] = {"phase": "Failed", "reason": "Evicted", "message": "too much on the disk"}
    evicted |= {"containerStatuses": [{"name": "runner", "state": {"terminated": lost}}]}
    cache.put(parse_runner_pod(build_raw(runs, version=5, annotations=job)))
    cache.put(parse_runner_pod(build_raw(evicted, version=6, annotations=job)))
    (pod,) = cache.list_pods().values()
    told = compute_loss(pod)
    assert told is not None
    assert told.message.startswith(f"{pod.name}: Evicted: too much on the disk; if it had job 7")


def test_a_list_that_was_overtaken_by_events_takes_nothing_back() -> None:
    cache = PodCache()
    starts = parse_runner_pod(build_raw({"phase": "Pending"}, version=4))
    runs = parse_runner_pod(build_raw({"phase": "Running"}, version=5))
    cache.put(runs)
    assert cache.replace([starts], now=0.0) == []
    assert cache.list_pods() == {runs.name: runs}
    cache.drop(runs)
    assert cache.replace([starts], now=0.0) == []
    assert cache.list_pods() == {}


def test_a_list_brings_pods_that_no_event_has_told_of() -> None:
    cache = PodCache()
    runs = parse_runner_pod(build_raw({"phase": "Running"}, version=5))
    assert cache.replace([runs], now=0.0) == []
    assert cache.list_pods() == {runs.name: runs}


def test_a_list_shows_which_pods_went_without_an_event() -> None:
    cache = PodCache()
    runs = parse_runner_pod(build_raw({"phase": "Running"}, version=5))
    cache.put(runs)
    assert cache.replace([], now=0.0) == [runs]
    assert cache.replace([], now=0.0) == []


def test_schedules_overlap_in_their_time_zones() -> None:
    schedules = [
        {"name": "day", "start": "0 8 * * *", "durationSeconds": 36000, "timeZone": "Europe/Berlin", "min": 3},
        {"name": "noon", "start": "0 12 * * *", "durationSeconds": 3600, "timeZone": "Europe/Berlin", "min": 5},
    ]
    spec = build_pool(min=1, schedules=schedules).spec
    assert spec is not None
    midnight = datetime(2026, 7, 1, tzinfo=UTC)
    found = {hour: compute_minimum(spec, midnight + timedelta(hours=hour))[0] for hour in (5, 6, 9, 10, 11, 15, 16)}
    assert found == {5: 1, 6: 3, 9: 3, 10: 5, 11: 3, 15: 3, 16: 1}


def test_the_crd_says_what_a_schema_can_not_and_can_be_scaled() -> None:
    version = build_crd(CRD)["spec"]["versions"][0]
    text = str(version["schema"])
    for rule in ("self.min <= self.max", "has(self.tokenSecret) != has(self.managed)"):
        assert rule in text
    assert version["subresources"]["scale"]["specReplicasPath"] == ".spec.min"
