"""A runner pod without a cluster: its entry point with GitLab's own runner, against the simulator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bessemer.kinds.runnerpool.render import config
from tests.contract.gitlab.conftest import Site
from tests.support.runner_image import get_gitlab_runner

ENTRYPOINT = Path(config.__file__).with_name("entrypoint.sh")
PROJECT = "hpc/sim"
SYSTEM_ID = "r_0123456789ab"
SECONDS = 30


@dataclass
class Pod:
    """A folder that stands for a runner pod, and its process."""

    folder: Path
    site: Site
    runner: Path
    api_token: str
    runner_token: str
    process: subprocess.Popen[bytes] | None = None

    def start(self, job: str = "", **changes: str) -> None:
        """Start it, sent for a job or waiting; changes are laid over its environment."""
        (self.folder / "job").write_text(job)
        environment = {
            "PATH": f"{self.runner.parent}:{os.environ['PATH']}",
            "HOME": str(self.folder / "builds"),
            "BESSEMER_MODE": "Pods",
            "BESSEMER_GRACE": "3600",
            "BESSEMER_POD_UID": "the-pods-uid",
            "BESSEMER_RUNNER": "lab",
            "BESSEMER_SYSTEM_ID": SYSTEM_ID,
            "BESSEMER_HOME": str(self.folder / "home"),
        } | changes
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", str(self.folder / "entrypoint.sh")],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def send(self, job: str) -> None:
        """Send it for a job while it waits."""
        (self.folder / "job").write_text(job)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Tell it to end, as the kubelet does."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it with its runner, which leads a separate process group."""
        assert self.process is not None
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def heeds_term(self) -> bool:
        """Whether it has set its traps; a TERM before that is lost in a pod, whose first process it is."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1)

    def wait(self, seconds: float = SECONDS) -> tuple[int, str, list[int]]:
        """Wait for its end; return exit code, outcome and jobs."""
        assert self.process is not None
        code = self.process.wait(seconds)
        last = json.loads((self.folder / "termination").read_text())
        return code, last["outcome"], last["jobs"]

    def run_job(self, *script: str, **fields: Any) -> int:
        """Have a job wait in GitLab."""
        (job,) = self.site.control.run_jobs(PROJECT, {"tags": ["hpc"], "script": list(script), **fields})
        return job

    def cancel_job(self, job: int, *, force: bool = False) -> None:
        """Press Cancel in GitLab, once or again."""
        path = f"/projects/{PROJECT.replace('/', '%2F')}/jobs/{job}/cancel"
        self.site.connect(self.api_token).http_post(path, query_data={"force": str(force).lower()})

    def change_gitlab(self, **settings: Any) -> None:
        """Change settings of the simulator."""
        self.site.control.change_settings(**settings)

    def log(self) -> str:
        """Return what it has said."""
        return (self.folder / "log").read_text()

    def wait_until(self, what: Callable[[], bool]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + SECONDS
        while not what():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)


@pytest.fixture(scope="session")
def runner() -> Path:
    return get_gitlab_runner()


@pytest.fixture
def pod(site: Site, runner: Path, tmp_path: Path) -> Iterator[Pod]:
    tokens = site.control.seed(
        projects=[{"path": PROJECT}],
        users=[{"username": "bot", "access": {"hpc": 50}}],
        tokens=[{"user": "bot", "name": "api", "scopes": ["api", "create_runner"]}],
    )
    fields = {"runner_type": "project_type", "project_id": 1, "tag_list": ["hpc"], "run_untagged": False}
    token = site.control.create_runner(tokens["api"], **fields)["token"]
    for name in ("home", "builds"):
        (tmp_path / name).mkdir()
    (tmp_path / "home" / "config.toml").write_text(
        f'concurrent = 1\n[[runners]]\nname = "lab"\nurl = "{site.url}"\ntoken = "{token}"\nexecutor = "shell"\n'
        f'shell = "bash"\nbuilds_dir = "{tmp_path}/builds"\n'
    )
    text = ENTRYPOINT.read_text().replace("/etc/bessemer/pod/job", str(tmp_path / "job"))
    (tmp_path / "entrypoint.sh").write_text(text.replace("/dev/termination-log", str(tmp_path / "termination")))
    made = Pod(tmp_path, site, runner, tokens["api"], token)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()
    if made.process is not None:
        with suppress(ProcessLookupError):
            os.killpg(made.process.pid, signal.SIGKILL)  # what it has left, as no container ends with it here
