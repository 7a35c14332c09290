"""Events are counted, not multiplied; the leader's Lease is taken, renewed and lost as the election expects."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord

from bessemer.engine.event_facts import EventFact
from bessemer.engine.events import MANY, SIMILAR, WINDOW, EventRecorder
from bessemer.kube.leader import LeaderLock
from bessemer.kube.protocol import LEASES, Kind, Object, Refused, Unavailable
from tests.fakes.kubernetes import FakeKubernetes

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BUILD = {
    "apiVersion": "bessemer.dev/v1alpha1",
    "kind": "ClusterBuild",
    "namespace": "lab",
    "name": "oxygen",
    "uid": "u",
}
FACT = EventFact("Warning", "ErrImagePull", "not found")


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes(now=lambda: NOW)


def events(kubernetes: FakeKubernetes) -> list[Object]:
    return [raw for (plural, _, _), raw in kubernetes.objects.items() if plural == "events"]


async def test_a_repeat_is_counted_on_one_event_also_after_a_restart(kubernetes: FakeKubernetes) -> None:
    for _ in range(2):
        recorder = EventRecorder(kubernetes, "me", lambda: NOW)
        await recorder.record(BUILD, FACT)
        await recorder.record(BUILD, FACT)
    assert len(events(kubernetes)) == 1
    assert events(kubernetes)[0]["series"]["count"] >= 2
    await recorder.record(BUILD, EventFact("Normal", "Ready", "done"))
    assert len(events(kubernetes)) == 2


async def test_an_event_that_kubernetes_forgot_is_recreated(kubernetes: FakeKubernetes) -> None:
    recorder = EventRecorder(kubernetes, "me", lambda: NOW)
    await recorder.record(BUILD, FACT)
    kubernetes.objects.clear()
    await recorder.record(BUILD, FACT)
    assert len(events(kubernetes)) == 1


async def test_an_event_that_is_refused_stops_nothing(kubernetes: FakeKubernetes) -> None:
    kubernetes.refuse = lambda _kind, _body: Refused("Forbidden", "no")
    await EventRecorder(kubernetes, "me", lambda: NOW).record(BUILD, FACT)
    assert events(kubernetes) == []


async def test_many_different_events_of_one_reason_are_counted_on_one(kubernetes: FakeKubernetes) -> None:
    """As when 200 jobs come one by one, each a separate decision."""
    clock = [NOW]
    recorder = EventRecorder(kubernetes, "me", lambda: clock[0])
    for job in range(200):
        await recorder.record(BUILD, EventFact("Normal", "Created", f"1 pod, for job {job}"))
        clock[0] += timedelta(seconds=1)
    await recorder.record(BUILD, EventFact("Warning", "QuotaExceeded", "no room"))
    notes = {event["note"]: event.get("series", {}).get("count", 1) for event in events(kubernetes)}
    assert len(notes) == SIMILAR + 2
    assert (notes[MANY], notes["no room"]) == (200 - SIMILAR, 1)
    clock[0] += WINDOW
    await recorder.record(BUILD, EventFact("Normal", "Created", "1 pod, for job 201"))
    assert any(event["note"] == "1 pod, for job 201" for event in events(kubernetes))


def lock(kubernetes: FakeKubernetes, identity: str) -> LeaderLock:
    return LeaderLock(kubernetes, "sys", "bessemer-operator", identity, renew_seconds=10)


def election(lock: LeaderLock) -> LeaderElection:
    async def nothing() -> None:
        """Lead."""

    config = Config(lock, lease_duration=15, renew_deadline=10, retry_period=2, onstarted_leading=nothing,
                    onstopped_leading=nothing)  # fmt: skip
    return LeaderElection(config)


async def test_one_leads_and_the_other_waits_until_the_lease_is_given_back(kubernetes: FakeKubernetes) -> None:
    first, second = election(lock(kubernetes, "a")), election(lock(kubernetes, "b"))
    assert await first.try_acquire_or_renew()
    assert await first.try_acquire_or_renew()
    assert not await second.try_acquire_or_renew()
    assert kubernetes.objects["leases", "sys", "bessemer-operator"]["spec"]["holderIdentity"] == "a"
    await kubernetes.delete_object(LEASES, "sys", "bessemer-operator")
    assert await second.try_acquire_or_renew()


class Silent(FakeKubernetes):
    """Answers, until it does not any more."""

    silent = False

    async def get_object(self, kind: Kind, namespace: str, name: str) -> Object | None:
        if self.silent:
            await asyncio.Event().wait()
        return await super().get_object(kind, namespace, name)


async def test_who_leads_does_not_wait_for_an_answer_longer_than_its_lease_lasts() -> None:
    kubernetes = Silent(now=lambda: NOW)
    leader = election(LeaderLock(kubernetes, "sys", "bessemer-operator", "a", renew_seconds=0.05))
    assert await leader.try_acquire_or_renew()
    kubernetes.silent = True
    async with asyncio.timeout(5):
        assert not await leader.try_acquire_or_renew()
        assert not await leader.try_acquire_or_renew()
    kubernetes.silent = False
    assert not await leader.try_acquire_or_renew(), "it is too late: another one may lead"


async def test_who_stands_by_waits_for_an_answer(kubernetes: FakeKubernetes) -> None:
    assert await election(lock(kubernetes, "a")).try_acquire_or_renew()
    candidate = LeaderLock(kubernetes, "sys", "bessemer-operator", "b", renew_seconds=0.0)
    assert not await election(candidate).try_acquire_or_renew()
    await kubernetes.delete_object(LEASES, "sys", "bessemer-operator")
    assert await election(candidate).try_acquire_or_renew()


async def test_a_restarted_container_of_the_same_pod_leads_at_once(kubernetes: FakeKubernetes) -> None:
    assert await election(lock(kubernetes, "a")).try_acquire_or_renew()
    assert await election(lock(kubernetes, "a")).try_acquire_or_renew()


async def test_an_api_outage_is_not_now_and_no_error(kubernetes: FakeKubernetes) -> None:
    class Down(FakeKubernetes):
        async def get_object(self, kind: Kind, namespace: str, name: str) -> Object | None:
            raise Unavailable("ApiUnavailable", f"{kind.plural} {namespace}/{name}: connection refused")

    assert not await election(lock(Down(now=lambda: NOW), "a")).try_acquire_or_renew()
    kubernetes.refuse = lambda _kind, _body: Refused("Forbidden", "no")
    assert not await election(lock(kubernetes, "a")).try_acquire_or_renew()
    record = LeaderElectionRecord("a", "15", str(NOW), str(NOW))
    assert not await lock(kubernetes, "a").update("bessemer-operator", "sys", record)
