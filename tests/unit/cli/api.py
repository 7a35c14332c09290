"""An API server on loopback for the command: prepared answers, by path."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from bessemer.cli.app import main

BUILDS = "/apis/bessemer.dev/v1alpha1/namespaces/lab/clusterbuilds"
POOLS = "/apis/bessemer.dev/v1alpha1/namespaces/lab/runnerpools"
TRIGGERS = "/apis/bessemer.dev/v1alpha1/namespaces/lab/buildtriggers"
DEPLOYMENTS = "/apis/apps/v1/deployments"
Answer = tuple[int, Any]


@dataclass
class Api:
    """What it answers to a path, and which it was asked for."""

    kubeconfig: Path
    answers: dict[str, Answer] = field(default_factory=dict)
    default: Answer = (404, {"reason": "NotFound", "message": "the server could not find the requested resource"})
    paths: list[str] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.paths.append(request.path_qs)
        status, body = self.answers.get(request.path, self.default)
        return web.Response(status=status, text=json.dumps(body), content_type="application/json")

    def serve_list(self, path: str, *objects: dict[str, Any]) -> None:
        self.answers[path] = (200, {"items": list(objects)})
        for raw in objects:
            self.answers[f"{path}/{raw['metadata']['name']}"] = (200, raw)


@asynccontextmanager
async def open_api(directory: Path) -> AsyncIterator[Api]:
    """Serve, with a kubeconfig whose context has the namespace lab."""
    api = Api(directory / "kubeconfig")
    for where in ("", "/namespaces/lab", "/namespaces/other"):
        api.serve_list(TRIGGERS.replace("/namespaces/lab", where))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    async with TestServer(app) as server:
        api.url = str(server.make_url("")).rstrip("/")
        write_kubeconfig(api.kubeconfig, api.url)
        yield api


def write_kubeconfig(path: Path, url: str) -> None:
    context = {"cluster": "c", "user": "u", "namespace": "lab"}
    whole = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": context}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump(whole))


async def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command in a separate thread, as it has a separate event loop; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["bessemer", *arguments])

    def work() -> int:
        try:
            main()
        except SystemExit as exit_:
            return int(exit_.code or 0)
        return 0

    return await asyncio.to_thread(work)
