"""The component's job as GitLab's own runner runs it: log, reports, and what a cancellation leads to.

The operator has Kubernetes in memory; on a cluster, tests/e2e/test_trigger_rack.py runs the same job in a pod.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bessemer.api.phase_contract import PHASE_ORDER
from tests.contract.gitlab.conftest import serve
from tests.support.button import Scene, open_button_scene
from tests.support.component import render_job
from tests.support.runner_image import get_gitlab_runner
from tests.support.trigger_world import PROJECT

SECONDS = 60
PHASES = [phase.value for phase in PHASE_ORDER]
SECTION = re.compile(r"section_(start|end):\d+:bessemer_oxygen_(\w+)_1\b")


@dataclass
class Runner:
    """A runner of the machine, with the executor Shell, that takes the jobs of a scene."""

    scene: Scene
    url: str
    folder: Path

    def press(self) -> tuple[int, int]:
        """Press the button; return the numbers of its job and of the job after it."""
        inputs = {"trigger-url": self.scene.url, "image": "none", "tags": ["lab"], "cluster": "oxygen"}
        later = {"stage": "test", "tags": ["lab"], "script": ["echo cluster=$BESSEMER_CLUSTER_NAME."]}
        button, after = self.scene.control.run_jobs(PROJECT, render_job(inputs), later, user="ada")
        self.scene.control.play_job(self.scene.admin, button)
        return button, after

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Let it take jobs in the block, with this environment's commands."""
        fields = {"runner_type": "instance_type", "tag_list": ["lab"], "run_untagged": False}
        token = self.scene.control.create_runner(self.scene.admin, **fields)["token"]
        folders = ["--builds-dir", str(self.folder / "builds"), "--cache-dir", str(self.folder / "cache")]
        path = f"PATH={Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        executor = ["--executor", "shell", "--shell", "bash", "--env", path]
        # The token is one of a simulator that is gone after the test.
        command = [get_gitlab_runner(), "run-single", "--url", self.url, "--token", token, *executor, *folders]
        with (self.folder / "runner.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, cwd=self.folder)
            try:
                yield
            finally:
                process.terminate()
                await process.wait()

    async def wait_for(self, number: int) -> dict[str, Any]:
        """Return a job when it has ended."""
        for _ in range(SECONDS * 5):
            job = self.scene.control.jobs()[number]
            if job["status"] in ("success", "failed", "canceled"):
                return job
            await asyncio.sleep(0.2)
        raise TimeoutError((self.folder / "runner.log").read_text() + job["trace"])


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[Runner]:
    with serve() as url:
        async with open_button_scene(url, tmp_path) as scene:
            made = Runner(scene, url, tmp_path)
            async with made.run():
                yield made


async def test_the_log_has_sections_and_the_reports_are_taken(runner: Runner) -> None:
    world = runner.scene.world

    def end() -> None:
        world.work(Preflight="Succeeded", BootManagement="Succeeded")
        world.end_build()

    runner.scene.then += [lambda: None, lambda: world.work(Preflight="Running"), end]
    button, after = runner.press()
    job = await runner.wait_for(button)
    assert (job["status"], set(job["artifacts"])) == ("success", {"dotenv", "junit"}), job["trace"]
    phases = ("Preflight", "BootManagement")
    assert SECTION.findall(job["trace"]) == [(edge, phase) for phase in phases for edge in ("start", "end")]
    assert "oxygen: Ready" in job["trace"]
    assert "cluster=oxygen." in (await runner.wait_for(after))["trace"]


async def test_a_cancelled_job_aborts_its_build_in_its_after_script(runner: Runner) -> None:
    """The runner learns of it when it sends what the job has logged, or after half a minute of silence."""
    world = runner.scene.world

    def go_on(count: int) -> None:
        world.work(**dict.fromkeys(PHASES[:count], "Succeeded"), **{PHASES[count]: "Running"})

    def cancel() -> None:
        runner.scene.control.cancel_job(runner.scene.admin, button)
        go_on(1)

    def follow(count: int) -> None:
        raw = world.build()
        assert raw is not None
        if "bessemer.dev/abort" in raw["metadata"]["annotations"]:
            world.end_build(ready=False, reason="Aborted")
        else:
            go_on(count)

    runner.scene.then += [lambda: None, lambda: go_on(0), lambda: None, cancel]
    runner.scene.then += [partial(follow, count) for count in range(2, len(PHASES))]
    button, _ = runner.press()
    job = await runner.wait_for(button)
    assert (job["status"], "the build is being aborted" in job["trace"]) == ("canceled", True), job["trace"]
    sections = SECTION.findall(job["trace"])
    assert [edge for edge, _ in sections] == ["start", "end"] * (len(sections) // 2), sections
    await world.settle()
    assert world.states() == [("Failed", "Aborted")]
