"""The command as a user starts it: what it prints opens the API, and the page's buttons run jobs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from threading import Timer

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

import gitlab

SECONDS = 60
SEED = """
projects:
- path: hpc/seeded
  commits:
  - files: {build.yaml: "kind: ClusterBuild"}
users:
- {username: bot, access: {hpc: 40}}
tokens:
- {user: bot, name: writing}
- {user: bot, name: reading, scopes: [read_api]}
"""


@dataclass
class Simulator:
    """A process, and what it printed."""

    process: subprocess.Popen[str]
    url: str
    said: str

    def get_token(self, name: str) -> str:
        found = re.search(rf"^  access token {name}: (\S+)$", self.said, re.MULTILINE)
        assert found is not None, self.said
        return found[1]


@pytest.fixture(params=["seed", "example"])
def simulator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Simulator]:
    """Start the simulator outside of the checkout, with the test's seed or the built-in one."""
    (tmp_path / "seed.yaml").write_text(SEED)
    url = f"http://127.0.0.1:{(port := find_free_port())}"
    command = [sys.executable, "-m", "gitlab_simulator", "--listen", f"127.0.0.1:{port}"]
    command += ["--seed", "seed.yaml"] if request.param == "seed" else []
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    alarm = Timer(SECONDS, process.kill)  # ends the reading, if nothing is printed
    alarm.start()
    assert process.stdout is not None
    said = "".join(takewhile(lambda line: line != "\n", process.stdout))
    try:
        assert f"{url}/ " in said, said
        wait_until_it_answers(url)
        yield Simulator(process, url, said)
    finally:
        alarm.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until_it_answers(url: str) -> None:
    """It listens a moment after it has told where."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=Retry(connect=10, backoff_factor=0.05)))
    with session:
        assert session.get(f"{url}/-/page/state", timeout=SECONDS).ok


@pytest.mark.parametrize("simulator", ["seed"], indirect=True)
def test_a_seed_is_served_and_the_printed_tokens_open_what_they_may(simulator: Simulator) -> None:
    assert "  project hpc/seeded\n" in simulator.said
    project = gitlab.Gitlab(simulator.url, private_token=simulator.get_token("reading")).projects.get("hpc/seeded")
    assert project.files.get("build.yaml", "HEAD").decode() == b"kind: ClusterBuild"
    head = project.commits.get("main")
    with pytest.raises(gitlab.GitlabCreateError, match="insufficient_scope"):
        head.statuses.create({"state": "success"})
    writing = gitlab.Gitlab(simulator.url, private_token=simulator.get_token("writing")).projects.get(project.id)
    assert writing.commits.get(head.id).statuses.create({"state": "success"}).status == "success"
    with pytest.raises(gitlab.GitlabAuthenticationError):
        gitlab.Gitlab(simulator.url, private_token="glpat-guess").projects.get(project.id)


def test_the_pages_buttons_run_as_many_jobs_as_they_say(simulator: Simulator) -> None:
    page = requests.get(f"{simulator.url}/", timeout=SECONDS).text
    path, order = re.search(r'fetch\("(-/page/run)"', page), re.search(r"const order = \{(.*?)\};", page, re.DOTALL)
    assert path is not None
    assert order is not None
    fields = dict.fromkeys(re.findall(r"(\w+): ", order[1]))
    (project,) = requests.get(f"{simulator.url}/-/page/state", timeout=SECONDS).json()["projects"]
    for total, count in ((1, 1), (21, 20)):
        assert f'<button name="count" value="{count}">' in page
        pressed = fields | {"project": project, "count": count, "seconds": 5, "tags": ["hpc"]}
        answer = requests.post(f"{simulator.url}/{path[1]}", json=pressed, timeout=SECONDS)
        assert answer.ok, answer.text
        state = requests.get(f"{simulator.url}/-/page/state", timeout=SECONDS).json()
        assert (len(state["jobs"]), state["counts"]) == (total, {"pending": total})
    token = simulator.get_token("api" if project == "hpc/simulations" else "reading")
    jobs = gitlab.Gitlab(simulator.url, private_token=token).projects.get(project).jobs.list(get_all=True)
    assert {(job.tag_list[0], job.status) for job in jobs} == {("hpc", "pending")}
    assert len(jobs) == 21


def test_a_term_ends_it_at_once(simulator: Simulator) -> None:
    simulator.process.send_signal(signal.SIGTERM)
    assert simulator.process.wait(SECONDS) == 0
