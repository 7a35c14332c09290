"""The button from end to end but for Kubernetes: a job of the simulator, the command, the endpoint, and a build."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import gitlab
from bessemer.cli.job import run as running
from bessemer.cli.job.results import Exit
from bessemer.cli.job.settings import Settings, read_settings
from bessemer.gitlab.client import GitLabConnector
from bessemer.gitlab.jobproofs import ProofClient
from bessemer.gitlab.projectclient import build_project_client
from bessemer.kinds.buildtrigger.waitingjobs import SILENT_SECONDS
from bessemer.web.app import add_public_routes
from gitlab_simulator.control import Simulator, send_over_http
from tests.contract.gitlab.conftest import serve
from tests.support.trigger_world import ALLOW, KEY, PROJECT, TriggerWorld, build_manifest, open_trigger_world

AUDIENCE = "bessemer"


@dataclass
class Scene:
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


@pytest.fixture
def gitlab_url() -> Any:
    with serve() as url:
        yield url


@pytest.fixture
async def scene(gitlab_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(running, "POLL_SECONDS", 0.0)
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
    found = Scene(world, control, tokens["admin"], tmp_path / "out")

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


@pytest.mark.parametrize("auth", ["id_tokens", "job-token"])
async def test_the_button_builds_the_commit_of_its_pipeline(scene: Scene, gitlab_url: str, auth: str) -> None:
    job = scene.start(gitlab_url)
    settings = scene.read_settings(job, BESSEMER_AUTH=auth)
    scene.then += [lambda: None, scene.world.end_build]
    assert await running.run_build(settings) is Exit.READY
    assert scene.world.commit_of() == next(one["value"] for one in job["variables"] if one["key"] == "CI_COMMIT_SHA")


async def test_a_job_on_an_unprotected_branch_builds_nothing(
    scene: Scene, gitlab_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await scene.world.apply(
        gitlab={"url": gitlab_url, "project": PROJECT, "apiTokenSecret": {"name": "gitlab"}},
        rules=[{"name": "button", "job": {"refs": ["*"]}}],
    )
    await scene.world.settle()
    scene.control.add_commit(PROJECT, pushed_by="ada", branch="feature", files={"clusters/oxygen.yaml": "x"})
    settings = scene.read_settings(scene.start(gitlab_url, ref="feature"))
    assert await running.run_build(settings) is Exit.REFUSED
    assert "RefNotProtected" in capsys.readouterr().out
    assert scene.world.build() is None


async def test_a_job_that_was_cancelled_and_did_not_say_so_has_its_build_aborted(scene: Scene, gitlab_url: str) -> None:
    job = scene.start(gitlab_url)

    def vanish() -> None:
        scene.control.cancel_job(scene.admin, job["id"])
        scene.world.pass_time(SILENT_SECONDS)

    def end() -> None:
        raw = scene.world.build()
        assert raw is not None
        assert raw["metadata"]["annotations"]["bessemer.dev/abort"].startswith("unwanted-by-")
        scene.world.end_build(ready=False, reason="Aborted")

    scene.then += [vanish, end]
    assert await running.run_build(scene.read_settings(job)) is Exit.ABORTED
