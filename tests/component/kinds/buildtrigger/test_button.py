"""The button from end to end but for Kubernetes: a job of the simulator, the command, the endpoint, and a build."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bessemer.cli.job import run as running
from bessemer.cli.job.results import Exit
from bessemer.kinds.buildtrigger.waitingjobs import SILENT_SECONDS
from tests.contract.gitlab.conftest import serve
from tests.support.button import Scene, open_button_scene
from tests.support.trigger_world import PROJECT


@pytest.fixture
def gitlab_url() -> Iterator[str]:
    with serve() as url:
        yield url


@pytest.fixture
async def scene(gitlab_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(running, "POLL_SECONDS", 0.0)
    async with open_button_scene(gitlab_url, tmp_path) as found:
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
