"""The button without Kubernetes: a simulator, whose jobs an operator serves that has Kubernetes in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

import gitlab
from bessemer.cli.job.settings import Settings, read_settings
from bessemer.gitlab.client import GitLabConnector
from bessemer.gitlab.jobproofs import ProofClient
from bessemer.gitlab.projectclient import build_project_client
from bessemer.web.app import add_public_routes
from gitlab_simulator.control import Simulator, send_over_http
from tests.support.trigger_world import ALLOW, KEY, PROJECT, TriggerWorld, build_manifest, open_trigger_world

AUDIENCE = "bessemer"


@dataclass
class Scene:
    """An operator with Kubernetes in memory, and a simulator whose jobs it serves."""

    world: TriggerWorld
    control: Simulator
    admin: str
    folder: Path
    url: str = ""
    then: list[Any] = field(default_factory=list)
    """What happens in the world after each request of the job."""

    def start(self, gitlab_url: str, ref: str = "main") -> dict[str, Any]:
        """Start a job as a runner does; return what the runner gets."""
        job = {"id_tokens": {"BESSEMER_ID_TOKEN": {"aud": AUDIENCE}}}
        self.control.run_jobs(PROJECT, job, user="ada", ref=ref)
        runner = self.control.create_runner(self.admin, runner_type="instance_type")
        answer: Any = gitlab.Gitlab(gitlab_url).http_post("/jobs/request", post_data={"token": runner["token"]})
        return dict(answer)

    def read_settings(self, job: dict[str, Any], **more: str) -> Settings:
        """Return what the command is told in the job."""
        variables = {one["key"]: one["value"] for one in job["variables"]}
        given = {"BESSEMER_TRIGGER_URL": self.url, "BESSEMER_CLUSTER": "oxygen", "BESSEMER_FOLDER": str(self.folder)}
        return read_settings(variables | given | more)


@asynccontextmanager
async def open_button_scene(gitlab_url: str, folder: Path) -> AsyncIterator[Scene]:
    """Yield an operator whose endpoint for jobs is served, with a trigger for a simulator."""
    control = Simulator(send_over_http(gitlab_url))
    files = {"clusters/oxygen.yaml": build_manifest().decode()}
    tokens = control.seed(
        projects=[{"path": PROJECT, "commits": [{"files": files}]}],
        users=[{"username": "ada", "access": {"hpc": 40}}, {"username": "admin", "admin": True}],
        tokens=[{"user": "admin", "name": "admin"}],
    )
    stack = AsyncExitStack()
    world = await stack.enter_async_context(open_trigger_world())
    world.clock[0] = datetime.now(UTC)
    connector = GitLabConnector()
    world.kind.deps.gitlabs.connect = lambda *to: build_project_client(connector.open_transport(*to))
    world.kind.deps.proofs.connect = lambda *to: ProofClient(connector.open_transport(*to))
    await world.put_secret("gitlab", tokens["admin"])
    world.kubernetes.edit("secrets", KEY[0], "gitlab", {"metadata": {"annotations": {"bessemer.dev/for": gitlab_url}}})
    endpoint = {"url": gitlab_url, "project": PROJECT, "apiTokenSecret": {"name": "gitlab"}}
    rule = {"name": "button", "job": {"refs": ["main"], "proofs": ["IdToken", "JobToken"]}}
    await world.apply(gitlab=endpoint, rules=[rule], allow=ALLOW)
    await world.settle()
    found = Scene(world, control, tokens["admin"], folder / "out")

    @web.middleware
    async def live(request: web.Request, handler: Any) -> web.StreamResponse:
        answer: web.StreamResponse = await handler(request)
        await world.settle()
        if found.then:
            found.then.pop(0)()
            await world.settle()
        return answer

    app = web.Application(middlewares=[live])
    add_public_routes(app, world.kind.routes.public, world.deps.metrics)
    async with stack:
        server = await stack.enter_async_context(TestServer(app))
        found.url = str(server.make_url(f"/v1/triggers/{KEY[0]}/{KEY[1]}"))
        yield found
