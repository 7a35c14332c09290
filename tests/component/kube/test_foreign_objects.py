"""kopf's own watch code, fed by an API server on loopback with whatever a tenant may have stored: it goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bessemer.engine.hearing import Hearing
from bessemer.engine.watch import watch_cluster
from bessemer.kinds.clusterbuild.kind import MODEL

GROUP = "bessemer.dev/v1alpha1"
DEEP = 9_999
"""Levels; the API server takes 10,000 of a whole object."""
SECONDS = 30.0


def write_object(name: str, body: str = "{}", metadata: str = "") -> str:
    own = f'"name": "{name}", "namespace": "lab", "uid": "uid-{name}", "resourceVersion": "7"{metadata}'
    return f'{{"apiVersion": "{GROUP}", "kind": "ClusterBuild", "metadata": {{{own}}}, "spec": {body}}}'


def nest(depth: int, opened: str = '{"a":', closed: str = "}") -> str:
    return opened * depth + "1" + closed * depth


ODD = {
    "deep-variables": write_object("deep-variables", f'{{"configuration": {{"variables": {nest(DEEP)}}}}}'),
    "deep-lists": write_object("deep-lists", f'{{"a": {nest(DEEP, "[", "]")}}}'),
    "deep-managed-fields": write_object("deep-managed-fields", metadata=f', "managedFields": [{nest(DEEP)}]'),
    "far-too-deep": write_object("far-too-deep", f'{{"a": {nest(200_000)}}}'),
    "surrogate": write_object("surrogate", r'{"a": "\ud800", "\udfff": 1}'),
    "too-large-number": write_object("too-large-number", '{"a": 1e999, "b": -1e999}'),
    "too-many-digits": write_object("too-many-digits", f'{{"a": {"9" * 5000}, "b": {"9" * 5000}.5}}'),
    "no-number": write_object("no-number", '{"a": NaN, "b": Infinity}'),
    "line-separator": write_object("line-separator", '{"a": "\u2028\u2029\x85\\u000b"}'),
    "long": write_object("long", json.dumps({"a": "x" * 3_000_000})),
    "kopfs-own-annotation": write_object(
        "kopfs-own-annotation",
        metadata=f', "annotations": {{"kopf.zalando.org/last-handled-configuration": "{"[" * 5000}"}}',
    ),
}
NO_EVENTS = {
    "no JSON": "<html>",
    "no object": '{"type": "ADDED"}',
    "no type": '{"object": {"metadata": {}}}',
    "no metadata": '{"type": "ADDED", "object": {"metadata": null}}',
    "a list": "[]",
    "an error": '{"type": "ERROR", "object": {"metadata": {}, "code": 500, "message": "etcdserver: no leader"}}',
    "cut off": '{"type": "ADDED", "object": {"metad',
}


SERVED = {
    "/api/v1": "namespaces pods events",
    "/apis/apiextensions.k8s.io/v1": "customresourcedefinitions",
    "/apis/bessemer.dev/v1alpha1": "clusterbuilds",
    "/apis/coordination.k8s.io/v1": "leases",
}
"""What kopf wants to be there before it watches anything."""


def describe_kind(plural: str) -> dict[str, Any]:
    verbs = ["get", "list", "watch", "patch"]
    return {"name": plural, "singularName": plural[:-1], "namespaced": True, "kind": plural.title(), "verbs": verbs}


@dataclass
class Api:
    """An API server that lists and streams what a test says."""

    listed: list[str] = field(default_factory=list)
    lines: asyncio.Queue[str | bytes] = field(default_factory=asyncio.Queue)
    lists: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/api":
            return web.json_response({"versions": ["v1"]})
        if request.path == "/apis":
            parts = [path.split("/")[2:] for path in SERVED if path.startswith("/apis/")]
            versions = [(group, {"version": version}) for group, version in parts]
            groups = [{"name": name, "versions": [one], "preferredVersion": one} for name, one in versions]
            return web.json_response({"groups": groups})
        if request.path in SERVED:
            plurals = SERVED[request.path].split()
            return web.json_response({"resources": [describe_kind(plural) for plural in plurals]})
        ours = request.path.endswith("/clusterbuilds")
        if "watch" not in request.query:
            self.lists += ours
            items = ", ".join(self.listed if ours else ())
            text = f'{{"kind": "ClusterBuildList", "metadata": {{"resourceVersion": "1"}}, "items": [{items}]}}'
            return web.Response(text=text, content_type="application/json")
        response = web.StreamResponse()
        await response.prepare(request)
        while ours:
            line = await self.lines.get()
            await response.write((line if isinstance(line, bytes) else line.encode()) + b"\n")
        await asyncio.sleep(3600)
        return response


@dataclass
class Operator:
    """What Bessemer hears while kopf watches."""

    heard: dict[str, Any] = field(default_factory=dict)
    watching: asyncio.Task[None] = field(init=False)

    model = MODEL
    children = ()

    def hear_object(self, _type: str | None, key: tuple[str, str], raw: Any) -> None:
        self.heard[key[1]] = raw

    def hear_child(self, *_: Any) -> None:
        raise AssertionError("nothing else is watched")

    async def wait(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not holds():
                if self.watching.done():
                    raise AssertionError("the operator has ended") from self.watching.exception()
                await asyncio.sleep(0.02)


def run(test: Callable[[Api, Operator], Awaitable[None]]) -> None:
    """Run a test in a separate event loop: kopf cancels what is left in its one when it ends."""

    async def work() -> None:
        api = Api()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", api.answer)
        async with TestServer(app) as server:
            info = kopf.ConnectionInfo(server=str(server.make_url("")).rstrip("/"))
            operator = Operator()
            watching = watch_cluster([operator], Hearing(), connection=info)
            operator.watching = asyncio.create_task(watching)
            try:
                await test(api, operator)
            finally:
                operator.watching.cancel()
                await asyncio.gather(operator.watching, return_exceptions=True)

    asyncio.run(work())


def test_whatever_is_in_a_list_all_objects_are_heard_of() -> None:
    async def test(api: Api, operator: Operator) -> None:
        api.listed = [*ODD.values(), "{}", "7", '{"metadata": []}', write_object("good")]
        await operator.wait(lambda: set(operator.heard) == {*ODD, "good"})

    run(test)


def test_whatever_is_in_a_stream_it_goes_on() -> None:
    async def test(api: Api, operator: Operator) -> None:
        await operator.wait(lambda: api.lists > 0)
        for text in (*ODD.values(), write_object("good")):
            api.lines.put_nowait(f'{{"type": "ADDED", "object": {text}}}')
        api.lines.put_nowait(b'{"type": "ADDED", "object": ' + write_object("bytes").encode()[:-3] + b'{"a": "\xff"}}}')
        await operator.wait(lambda: set(operator.heard) == {*ODD, "good", "bytes"})
        assert api.lists == 1, "the stream was never restarted"

    run(test)


@pytest.mark.parametrize("line", NO_EVENTS.values(), ids=NO_EVENTS)
def test_after_a_line_that_is_no_event_all_is_listed_again(line: str) -> None:
    async def test(api: Api, operator: Operator) -> None:
        await operator.wait(lambda: api.lists > 0)
        api.lines.put_nowait(line)
        api.listed = [write_object("good")]
        await operator.wait(lambda: "good" in operator.heard)

    run(test)
