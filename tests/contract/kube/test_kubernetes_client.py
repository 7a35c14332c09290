"""The client for Kubernetes: the fake in memory and the real API server pass the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from bessemer.kube.client import KubernetesClient
from bessemer.kube.podwarnings import PodWarning, get_pod_warning
from bessemer.kube.protocol import (
    CONFIG_MAPS,
    CORE_EVENTS,
    LEASES,
    PODS,
    AlreadyExists,
    Conflict,
    Kind,
    Kubernetes,
    Object,
    Refused,
)
from local_kubernetes.kubectl import Kubectl
from local_kubernetes.protocol import Cluster
from tests.fakes.kubernetes import FakeKubernetes

FINALIZER = "bessemer.dev/result"


@dataclass(frozen=True)
class Client:
    kubernetes: Kubernetes
    namespace: str

    async def create_map(self, name: str, **metadata: object) -> Object:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"a": "1"}}
        return await self.kubernetes.create_object(CONFIG_MAPS, self.namespace, body)


@pytest.fixture(params=["fake", "real"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    if request.param == "fake":
        yield Client(FakeKubernetes(now=lambda: datetime(2026, 11, 23, tzinfo=UTC)), "lab")
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    kubectl: Kubectl = request.getfixturevalue("namespace")
    configuration = Configuration()
    await config.load_kube_config(  # type: ignore[no-untyped-call]  # it has no types
        config_file=str(cluster.kubeconfig), client_configuration=configuration
    )
    async with ApiClient(configuration) as api:
        yield Client(KubernetesClient(api), kubectl.namespace)


async def test_what_was_created_can_be_read_and_has_an_identity(client: Client) -> None:
    created = await client.create_map("one")
    found = await client.kubernetes.get_object(CONFIG_MAPS, client.namespace, "one")
    assert found is not None
    assert found["data"] == {"a": "1"}
    for field in ("uid", "resourceVersion", "creationTimestamp"):
        assert created["metadata"][field] == found["metadata"][field]


async def test_creating_twice_is_already_there(client: Client) -> None:
    await client.create_map("one")
    with pytest.raises(AlreadyExists):
        await client.create_map("one")


async def test_what_is_absent_is_none_for_every_verb(client: Client) -> None:
    assert await client.kubernetes.get_object(CONFIG_MAPS, client.namespace, "none") is None
    assert await client.kubernetes.patch_object(CONFIG_MAPS, client.namespace, "none", {"data": {}}) is None
    await client.kubernetes.delete_object(CONFIG_MAPS, client.namespace, "none")
    assert await client.kubernetes.list_objects(LEASES, client.namespace) == []


async def test_labels_choose(client: Client) -> None:
    await client.create_map("one", labels={"build": "a"})
    await client.create_map("two", labels={"build": "b"})
    for labels, names in (("build=a", ["one"]), ("build", ["one", "two"]), ("build=c", [])):
        found = await client.kubernetes.list_objects(CONFIG_MAPS, client.namespace, labels=labels)
        assert sorted(raw["metadata"]["name"] for raw in found) == names


async def test_a_patch_merges_and_none_removes(client: Client) -> None:
    await client.create_map("one")
    patched = await client.kubernetes.patch_object(
        CONFIG_MAPS, client.namespace, "one", {"data": {"a": None, "b": "2"}}
    )
    assert patched is not None
    assert patched["data"] == {"b": "2"}


async def test_a_conditional_patch_of_what_has_changed_is_a_conflict(client: Client) -> None:
    old = (await client.create_map("one"))["metadata"]["resourceVersion"]
    await client.kubernetes.patch_object(CONFIG_MAPS, client.namespace, "one", {"data": {"a": "2"}})
    patch = {"metadata": {"resourceVersion": old}, "data": {"a": "3"}}
    with pytest.raises(Conflict):
        await client.kubernetes.patch_object(CONFIG_MAPS, client.namespace, "one", patch)


async def test_a_finalizer_holds_what_is_deleted_until_it_is_taken_off(client: Client) -> None:
    await client.create_map("one", finalizers=[FINALIZER])
    await client.kubernetes.delete_object(CONFIG_MAPS, client.namespace, "one")
    held = await client.kubernetes.get_object(CONFIG_MAPS, client.namespace, "one")
    assert held is not None
    assert "deletionTimestamp" in held["metadata"]
    await client.kubernetes.patch_object(CONFIG_MAPS, client.namespace, "one", {"metadata": {"finalizers": []}})
    assert await client.kubernetes.get_object(CONFIG_MAPS, client.namespace, "one") is None


async def test_another_object_of_the_name_is_not_deleted(client: Client) -> None:
    await client.create_map("one")
    await client.kubernetes.delete_object(
        CONFIG_MAPS, client.namespace, "one", uid="00000000-0000-0000-0000-000000000000"
    )
    assert await client.kubernetes.get_object(CONFIG_MAPS, client.namespace, "one") is not None


async def test_an_object_that_has_changed_since_is_not_deleted(client: Client) -> None:
    seen = await client.create_map("one")
    patch = {"data": {"changed": "since"}}
    changed = await client.kubernetes.patch_object(CONFIG_MAPS, client.namespace, "one", patch)
    assert changed is not None
    await client.kubernetes.delete_object(
        CONFIG_MAPS, client.namespace, "one", version=seen["metadata"]["resourceVersion"]
    )
    assert await client.kubernetes.get_object(CONFIG_MAPS, client.namespace, "one") is not None
    version = changed["metadata"]["resourceVersion"]
    await client.kubernetes.delete_object(CONFIG_MAPS, client.namespace, "one", version=version)
    assert await client.kubernetes.get_object(CONFIG_MAPS, client.namespace, "one") is None


async def test_a_pod_that_never_ran_goes_at_once_but_for_our_finalizer(client: Client) -> None:
    selector = {"nodeSelector": {"no-such": "node"}, "containers": [{"name": "phase", "image": "localhost/none:1"}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": [FINALIZER]}, "spec": selector}
    await client.kubernetes.create_object(PODS, client.namespace, body)
    await client.kubernetes.delete_object(PODS, client.namespace, "p")
    held = await client.kubernetes.get_object(PODS, client.namespace, "p")
    assert held is not None
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0


async def test_a_pod_that_its_kubelet_would_end_goes_at_once_without_a_grace_period(client: Client) -> None:
    spec = {"nodeName": "nowhere", "containers": [{"name": "runner", "image": "localhost/none:1"}]}
    await client.kubernetes.create_object(
        PODS, client.namespace, {"kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    )
    await client.kubernetes.delete_object(PODS, client.namespace, "p")
    held = await client.kubernetes.get_object(PODS, client.namespace, "p")
    assert held is not None
    assert held["metadata"]["deletionGracePeriodSeconds"] == 30
    await client.kubernetes.delete_object(PODS, client.namespace, "p", uid=held["metadata"]["uid"], grace_seconds=0)
    assert await client.kubernetes.get_object(PODS, client.namespace, "p") is None


async def test_the_events_of_a_pod_are_chosen_by_its_uid_and_its_latest_warning_is_told(client: Client) -> None:
    containers = {"nodeSelector": {"no-such": "node"}, "containers": [{"name": "c", "image": "localhost/none:1"}]}
    uids = []
    for name in ("one", "two"):
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": containers}
        uids.append((await client.kubernetes.create_object(PODS, client.namespace, body))["metadata"]["uid"])
    for number, (uid, type_, reason) in enumerate(
        [
            (0, "Warning", "FailedAttachVolume"),
            (0, "Warning", "FailedMount"),
            (0, "Normal", "Pulled"),
            (1, "Warning", "X"),
        ]
    ):
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"e{number}"},
            "involvedObject": {"kind": "Pod", "namespace": client.namespace, "name": "p", "uid": uids[uid]},
            "type": type_,
            "reason": reason,
            "message": f"words {number}",
            # The scheduler's own event of these pods, that no node has their label, is of today.
            "lastTimestamp": f"2999-01-01T00:0{number}:00Z",
        }
        await client.kubernetes.create_object(CORE_EVENTS, client.namespace, event)
    assert await get_pod_warning(client.kubernetes, client.namespace, uids[0]) == PodWarning("FailedMount", "words 1")
    assert await get_pod_warning(client.kubernetes, client.namespace, uids[1]) == PodWarning("", "X: words 3")
    assert await get_pod_warning(client.kubernetes, client.namespace, "none") is None


async def test_a_field_that_kubernetes_does_not_have_is_refused_by_name(client: Client) -> None:
    text = 'strict decoding error: unknown field "spec.affinity.nodeAfinity"'
    if isinstance(client.kubernetes, FakeKubernetes):
        client.kubernetes.refuse = lambda _kind, _body: Refused("BadRequest", text)
    spec = {"affinity": {"nodeAfinity": {}}, "containers": [{"name": "runner", "image": "localhost/none:1"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    with pytest.raises(Refused, match=r"unknown field .spec\.affinity\.nodeAfinity"):
        await client.kubernetes.create_object(PODS, client.namespace, pod)


async def test_a_quota_refuses_and_says_so(client: Client) -> None:
    if isinstance(client.kubernetes, FakeKubernetes):
        client.kubernetes.refuse = lambda _kind, _body: Refused("QuotaExceeded", "exceeded quota: full")
    else:
        kind = Kind("", "v1", "resourcequotas")
        body = {"metadata": {"name": "full"}, "spec": {"hard": {"pods": "0"}}, "status": {"hard": {"pods": "0"}}}
        await client.kubernetes.create_object(kind, client.namespace, body)
    with pytest.raises(Refused, match="exceeded quota"):
        await create_pods(client, 20)


async def create_pods(client: Client, count: int) -> None:
    """Create pods with pauses: a new quota binds when its controller has counted."""
    for number in range(count):
        containers = {"containers": [{"name": "phase", "image": "localhost/none:1"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{number}"}, "spec": containers}
        await client.kubernetes.create_object(PODS, client.namespace, pod)
        await asyncio.sleep(0.1)


def build_map(name: str, data: dict[str, str], **metadata: object) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data}


async def test_applying_creates_then_changes_and_removes_what_is_not_applied_any_more(client: Client) -> None:
    first = await client.kubernetes.apply_object(CONFIG_MAPS, client.namespace, build_map("m", {"a": "1", "b": "1"}))
    await client.kubernetes.patch_object(CONFIG_MAPS, client.namespace, "m", {"data": {"other": "1"}})
    second = await client.kubernetes.apply_object(CONFIG_MAPS, client.namespace, build_map("m", {"a": "2"}))
    assert (first["data"], second["data"]) == ({"a": "1", "b": "1"}, {"a": "2", "other": "1"})
    assert second["metadata"]["uid"] == first["metadata"]["uid"]
    again = await client.kubernetes.apply_object(CONFIG_MAPS, client.namespace, build_map("m", {"a": "2"}))
    assert again["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"], "nothing has changed"


async def test_what_another_manager_has_set_is_a_conflict_unless_it_is_forced(client: Client) -> None:
    await client.create_map("m")
    with pytest.raises(Conflict):
        await client.kubernetes.apply_object(CONFIG_MAPS, client.namespace, build_map("m", {"a": "2"}))
    forced = await client.kubernetes.apply_object(CONFIG_MAPS, client.namespace, build_map("m", {"a": "2"}), force=True)
    assert forced["data"] == {"a": "2"}


async def test_an_object_with_another_uid_is_neither_changed_nor_created(client: Client) -> None:
    other = "00000000-0000-0000-0000-000000000000"
    await client.create_map("m")
    for name in ("m", "new"):
        with pytest.raises(Conflict):
            await client.kubernetes.apply_object(CONFIG_MAPS, client.namespace, build_map(name, {"a": "1"}, uid=other))
    assert await client.kubernetes.get_object(CONFIG_MAPS, client.namespace, "new") is None


async def test_a_field_that_the_api_does_not_have_is_refused_when_it_is_applied(client: Client) -> None:
    if isinstance(client.kubernetes, FakeKubernetes):
        client.kubernetes.refuse = lambda _kind, _body: Refused("Invalid", "no such field")
    with pytest.raises(Refused, match=r"no such field|\.color: field not declared in schema"):
        await client.kubernetes.apply_object(CONFIG_MAPS, client.namespace, build_map("m", {}) | {"color": "red"})
