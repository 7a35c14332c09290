"""The door to Kubernetes against an HTTP server on loopback that answers as the API server does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from bessemer.kube.client import (
    CLUSTER_BUILDS,
    LEASES,
    PODS,
    AlreadyExists,
    Conflict,
    KubernetesClient,
    Refused,
    Unavailable,
    translate_failure,
)


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
