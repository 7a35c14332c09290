"""What a runner pod runs, with GitLab's own runner in it, against the simulator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bessemer.runnerpool import config
from tests.contract.gitlab.conftest import Site
from tests.support.runner_image import get_gitlab_runner

ENTRYPOINT = Path(config.__file__).with_name("entrypoint.sh")
PROJECT = "hpc/sim"
SECONDS = 30


@dataclass
class Pod:
    """A folder that stands for a runner pod, and its process."""

    folder: Path
    site: Site
    runner: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, job: str = "") -> None:
        """Start it, sent for a job or waiting."""
        (self.folder / "job").write_text(job)
        environment = {
            "PATH": f"{self.runner.parent}:{os.environ['PATH']}",
            "HOME": str(self.folder / "builds"),
            "BESSEMER_MODE": "Pods",
            "BESSEMER_POD_UID": "the-pods-uid",
            "BESSEMER_RUNNER": "lab",
            "BESSEMER_SYSTEM_ID": "r_0123456789ab",
            "BESSEMER_HOME": str(self.folder / "home"),
        }
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", str(self.folder / "entrypoint.sh")], env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def send(self, job: str) -> None:
        """Send it for a job while it waits."""
        (self.folder / "job").write_text(job)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Tell it to end, as the kubelet does."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> tuple[int, str, list[int]]:
        """Wait for its end; give exit code, outcome and jobs."""
        assert self.process is not None
        code = self.process.wait(SECONDS)
        last = json.loads((self.folder / "termination").read_text())
        return code, last["outcome"], last["jobs"]

    def run_job(self, *script: str) -> int:
        """Have a job wait in GitLab."""
        (job,) = self.site.control.run_jobs(PROJECT, {"tags": ["hpc"], "script": list(script)})
        return job

    def wait_until(self, what: Callable[[], bool]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + SECONDS
        while not what():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
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
    made = Pod(tmp_path, site, runner)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def test_sent_for_a_job_it_takes_one_and_ends(pod: Pod) -> None:
    job, later = pod.run_job("echo the answer is $((6 * 7))"), pod.run_job("true")
    pod.start(str(job))
    assert pod.wait() == (0, "JobTaken", [job])
    jobs = pod.site.control.jobs()
    assert (jobs[job]["status"], jobs[job]["system_id"]) == ("success", "r_0123456789ab")
    assert "the answer is 42" in jobs[job]["trace"]
    assert jobs[later]["status"] == "pending"


def test_sent_for_a_job_that_another_runner_took_it_asks_once_and_ends(pod: Pod) -> None:
    pod.start("1001")
    assert pod.wait() == (0, "NoJob", [])
    assert pod.site.control.requests()["POST /api/v4/jobs/request"] == 1


def test_while_it_waits_it_asks_gitlab_for_nothing_and_ends_at_once(pod: Pod) -> None:
    pod.start()
    pod.wait_until(lambda: "waits to be sent" in (pod.folder / "log").read_text())
    pod.stop()
    assert pod.wait() == (0, "NoJob", [])
    assert "POST /api/v4/jobs/request" not in pod.site.control.requests()


def test_sent_while_it_waits_it_takes_the_job(pod: Pod) -> None:
    pod.start()
    job = pod.run_job("true")
    pod.send(str(job))
    assert pod.wait() == (0, "JobTaken", [job])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_job_ends_before_the_pod_does(pod: Pod, number: signal.Signals) -> None:
    job, later = pod.run_job("sleep 2; echo to the end"), pod.run_job("true")
    pod.start(str(job))
    pod.wait_until(lambda: pod.site.control.jobs()[job]["status"] == "running")
    pod.stop(number)
    assert pod.wait() == (0, "JobTaken", [job])
    jobs = pod.site.control.jobs()
    assert (jobs[job]["status"], jobs[later]["status"]) == ("success", "pending")
    assert "to the end" in jobs[job]["trace"]


def test_a_failed_job_is_the_jobs_business(pod: Pod) -> None:
    job = pod.run_job("exit 3")
    pod.start(str(job))
    assert pod.wait() == (0, "JobTaken", [job])
    done = pod.site.control.jobs()[job]
    assert (done["status"], done["failure_reason"], done["exit_code"]) == ("failed", "script_failure", 3)


def test_refused_by_gitlab_it_does_not_sleep_five_minutes(pod: Pod) -> None:
    pod.site.control.switch_fault(route="POST /api/v4/jobs/request", status=403)
    pod.start("1001")
    assert pod.wait() == (1, "Forbidden", [])


def test_the_token_is_in_no_file_when_the_job_runs(pod: Pod) -> None:
    job = pod.run_job(f"cp -r {pod.folder}/home/.runner_system_id {pod.folder}/seen; ls -la {pod.folder}/home")
    pod.start(str(job))
    assert pod.wait()[1] == "JobTaken"
    kind = (pod.folder / "home" / "config.toml").stat().st_mode
    assert kind & 0o170000 == 0o010000  # a pipe, which nothing is in


def test_without_knowledge_of_jobs_it_goes_on_asking(pod: Pod) -> None:
    pod.start("any")
    pod.wait_until(lambda: pod.site.control.requests().get("POST /api/v4/jobs/request", 0) >= 1)
    job = pod.run_job("true")
    assert pod.wait() == (0, "JobTaken", [job])
