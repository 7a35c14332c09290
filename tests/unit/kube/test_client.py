"""The client for Kubernetes against an HTTP server on loopback that answers as the API server does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration
from yarl import URL

from bessemer.kinds.clusterbuild.resource import CLUSTER_BUILDS
from bessemer.kube.client import MOST_BYTES, MOST_VALUES, KubernetesClient, translate_failure
from bessemer.kube.protocol import (
    CONFIG_MAPS,
    LEASES,
    PODS,
    SECRETS,
    AlreadyExists,
    Conflict,
    NotServed,
    Refused,
    Unavailable,
)
from bessemer.kube.watch import ObjectWatcher


class Api:
    """Notes requests, gives prepared answers."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any, str]] = []
        self.status, self.answer = 200, "{}"

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.requests.append(
            (request.method, request.path_qs, json.loads(text) if text else None, request.content_type)
        )
        return web.Response(status=self.status, text=self.answer, content_type="application/json")

    def fail(self, status: int, reason: str, message: str = "") -> None:
        self.status, self.answer = status, json.dumps({"kind": "Status", "reason": reason, "message": message})


@pytest.fixture
async def api() -> AsyncIterator[tuple[Api, KubernetesClient]]:
    api = Api()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    async with TestServer(app) as server:
        configuration = Configuration(host=str(server.make_url("")).rstrip("/"))
        async with ApiClient(configuration) as client:
            yield api, KubernetesClient(client)


async def test_a_name_is_one_part_of_the_path_whatever_it_holds(api: tuple[Api, KubernetesClient]) -> None:
    server, client = api
    server.fail(404, "NotFound")
    assert await client.get_object(PODS, "lab/../x", "p?watch=1&a=/b") is None
    ((_, path, _, _),) = server.requests
    assert path == "/api/v1/namespaces/lab%2F..%2Fx/pods/p%3Fwatch=1&a=%2Fb"


async def test_each_verb_asks_what_the_api_expects(api: tuple[Api, KubernetesClient]) -> None:
    server, client = api
    server.answer = '{"items": [], "metadata": {}}'
    await client.get_object(CLUSTER_BUILDS, "lab", "oxygen")
    await client.list_objects(PODS, "lab", labels="a=b", limit=5)
    await client.list_objects(PODS, "")
    await client.create_object(LEASES, "sys", {"metadata": {"name": "m"}})
    await client.patch_object(CLUSTER_BUILDS, "lab", "oxygen", {"status": {}}, subresource="status")
    await client.delete_object(PODS, "lab", "p", uid="u", version="7")
    await client.delete_object(PODS, "lab", "p", grace_seconds=0)
    assert [request[:2] for request in server.requests] == [
        ("GET", "/apis/bessemer.dev/v1alpha1/namespaces/lab/clusterbuilds/oxygen"),
        ("GET", "/api/v1/namespaces/lab/pods?labelSelector=a%3Db&limit=5"),
        ("GET", "/api/v1/pods"),
        ("POST", "/apis/coordination.k8s.io/v1/namespaces/sys/leases?fieldValidation=Strict"),
        ("PATCH", "/apis/bessemer.dev/v1alpha1/namespaces/lab/clusterbuilds/oxygen/status"),
        ("DELETE", "/api/v1/namespaces/lab/pods/p"),
        ("DELETE", "/api/v1/namespaces/lab/pods/p"),
    ]
    assert server.requests[4][3] == "application/merge-patch+json"
    assert server.requests[5][2]["preconditions"] == {"uid": "u", "resourceVersion": "7"}
    assert "gracePeriodSeconds" not in server.requests[5][2]
    assert server.requests[6][2]["gracePeriodSeconds"] == 0


async def test_what_is_absent_is_none_and_deleting_it_is_nothing(api: tuple[Api, KubernetesClient]) -> None:
    server, client = api
    server.fail(404, "NotFound")
    assert await client.get_object(PODS, "lab", "p") is None
    assert await client.patch_object(PODS, "lab", "p", {}) is None
    await client.delete_object(PODS, "lab", "p")


async def test_a_list_of_a_kind_that_is_not_served_is_an_error_that_names_it(api: tuple[Api, KubernetesClient]) -> None:
    server, client = api
    server.fail(404, "NotFound")
    with pytest.raises(NotServed) as error:
        await client.list_objects(CLUSTER_BUILDS, "lab")
    assert error.value.message == "clusterbuilds of bessemer.dev/v1alpha1"


async def test_deleting_another_object_of_the_name_is_nothing(api: tuple[Api, KubernetesClient]) -> None:
    server, client = api
    server.fail(409, "Conflict", "the UID in the precondition does not match")
    await client.delete_object(PODS, "lab", "p", uid="old")


async def test_a_server_that_is_gone_is_unavailable() -> None:
    async with ApiClient(Configuration(host="http://127.0.0.1:9")) as client:
        with pytest.raises(Unavailable):
            await KubernetesClient(client).get_object(PODS, "lab", "p")


async def test_a_log_is_read_as_text(api: tuple[Api, KubernetesClient]) -> None:
    server, client = api
    server.answer = "one\ntwo\n"
    assert await client.get_log("lab", "p", "phase") == "one\ntwo\n"


async def test_a_part_of_a_log_is_read_with_its_time_stamps(api: tuple[Api, KubernetesClient]) -> None:
    server, client = api
    server.answer = "2026-03-02T06:00:00.5Z one\n"
    since = datetime(2026, 3, 2, 6, 0, 0, 7, UTC)
    assert await client.read_log("lab", "p", "phase", since=since, most_bytes=9) == server.answer
    assert dict(URL(server.requests[-1][1]).query) == {
        "container": "phase", "timestamps": "true", "sinceTime": "2026-03-02T06:00:00Z", "limitBytes": "9"
    }  # fmt: skip
    await client.read_log("lab", "p", "phase", last=20)
    assert dict(URL(server.requests[-1][1]).query) == {"container": "phase", "timestamps": "true", "tailLines": "20"}


@pytest.mark.parametrize(("status", "reason"), [(404, "NotFound"), (400, "BadRequest")])
async def test_a_container_that_has_not_begun_has_no_log(
    api: tuple[Api, KubernetesClient], status: int, reason: str
) -> None:
    server, client = api
    server.fail(status, reason, "container is waiting to start: PodInitializing")
    assert await client.read_log("lab", "p", "phase") is None


async def test_a_log_that_may_not_be_read_is_refused(api: tuple[Api, KubernetesClient]) -> None:
    server, client = api
    server.fail(403, "Forbidden", "pods/log")
    with pytest.raises(Refused):
        await client.read_log("lab", "p", "phase")


@pytest.mark.parametrize(
    ("status", "reason", "message", "error"),
    [
        (409, "AlreadyExists", "", AlreadyExists),
        (409, "Conflict", "", Conflict),
        (403, "Forbidden", "exceeded quota", Refused),
        (422, "Invalid", "", Refused),
        (429, "TooManyRequests", "", Unavailable),
        (500, "InternalError", "", Unavailable),
        (503, "ServiceUnavailable", "", Unavailable),
    ],
)
def test_the_class_of_an_error_says_what_to_do(status: int, reason: str, message: str, error: type) -> None:
    failure = translate_failure(status, json.dumps({"reason": reason, "message": message}).encode())
    assert type(failure) is error


def test_a_terminating_namespace_is_told_apart() -> None:
    body = json.dumps({"reason": "Forbidden", "message": "unable to create: namespace lab is being terminated"})
    failure = translate_failure(403, body.encode())
    assert isinstance(failure, Refused)
    assert failure.reason == "NamespaceTerminating"


def test_an_answer_that_is_no_json_is_understood_by_its_status() -> None:
    assert isinstance(translate_failure(502, b"<html>bad gateway"), Unavailable)


async def test_an_object_that_nests_as_deep_as_the_api_server_allows_is_read(
    api: tuple[Api, KubernetesClient],
) -> None:
    server, client = api
    deep = '{"a":' * 9990 + "1" + "}" * 9990
    raw = f'{{"metadata": {{"name": "deep", "managedFields": [{deep}]}}, "spec": {deep}}}'
    server.answer = raw
    found = await client.get_object(CLUSTER_BUILDS, "lab", "deep")
    assert found is not None
    assert found["metadata"]["name"] == "deep"
    server.answer = f'{{"items": [{raw}, 7, {{"metadata": {{"name": "good"}}}}]}}'
    names = [item["metadata"]["name"] for item in await client.list_objects(CLUSTER_BUILDS, "lab")]
    assert names == ["deep", "good"]


@pytest.mark.parametrize("answer", ["", "<html>", "[]", "7", '{"items": null}', '{"items": {}}', '{"a'])
async def test_an_answer_that_is_no_object_is_tried_again(api: tuple[Api, KubernetesClient], answer: str) -> None:
    server, client = api
    server.answer = answer
    with pytest.raises(Unavailable):
        await client.list_objects(PODS, "lab")


def list_config_maps(number: int, text: str) -> str:
    one = json.dumps({"metadata": {"name": "x"}, "data": {"event": text}})
    return f'{{"items": [{",".join([one] * number)}]}}'


@pytest.mark.parametrize(
    "answer",
    [
        list_config_maps(MOST_BYTES // 1_000_000 + 1, "x" * 1_000_000),
        '{"items": [{"metadata": {"name": "x"}, "spec": [' + "{}," * MOST_VALUES + "{}]}]}",
    ],
    ids=["bytes", "values"],
)
async def test_objects_that_are_too_large_together_are_refused_and_leave_no_connection(
    api: tuple[Api, KubernetesClient], answer: str
) -> None:
    """As ConfigMaps of a user with the label of a trigger's events, of 1 MB each: 300 of them fill the memory."""
    server, client = api
    for _ in range(3):
        server.answer = answer
        with pytest.raises(Refused, match="TooManyObjects"):
            await client.list_objects(CONFIG_MAPS, "lab", labels="bessemer.dev/trigger=site")
        server.answer = list_config_maps(4, "x" * 1_000_000)
        found = await asyncio.gather(*(client.list_objects(CONFIG_MAPS, "lab") for _ in range(4)))
        assert [len(listed) for listed in found] == [4, 4, 4, 4]


async def test_a_failure_is_told_in_one_printable_line(api: tuple[Api, KubernetesClient]) -> None:
    server, client = api
    server.fail(422, "Invalid", "spec: \x1b]0;pwned\x07bad\nvalue" + "x" * 5000)
    with pytest.raises(Refused) as caught:
        await client.create_object(PODS, "lab", {})
    assert caught.value.message.startswith("spec: bad value")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) <= 2048


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ('{"type": "ADDED", "object": {"metadata": {"resourceVersion": "7"}}}', "7"),
        (
            '{"type": "ADDED", "object": {"metadata": {"resourceVersion": "8", "managedFields": '
            + "[" * 9990
            + "]" * 9990
            + "}}}",
            "8",
        ),
        (
            '{"type": "ADDED", "object": {"metadata": {"annotations": {"a": "'
            + "x" * 250_000
            + '"}, "resourceVersion": "9"}}}',
            "9",
        ),
        ('{"type": "ERROR", "object": {"code": 403, "reason": "Forbidden"}}', Refused),
        ('{"type": "ERROR", "object": {"code": 500}}', Unavailable),
        ('{"type": "ERROR", "object": {"code": "x"}}', Unavailable),
        ('{"type": "ADDED", "object": {"metadata": null}}', Unavailable),
        ("[]", Unavailable),
        ("<html>", Unavailable),
    ],
    ids=["plain", "deep", "long", "forbidden", "failed", "odd error", "no metadata", "list", "html"],
)
async def test_an_object_is_watched_whatever_stands_in_it(
    api: tuple[Api, KubernetesClient], line: str, version: str | type[Exception]
) -> None:
    server, client = api
    server.answer = line + "\n"
    watch = ObjectWatcher(client._api).watch_object(SECRETS, "lab", "token")
    if isinstance(version, str):
        assert [found async for found in watch] == [version]
    else:
        with pytest.raises(version):
            await anext(watch)
