"""The simulator's page: what it shows, what its buttons do, and how the simulator is started by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from gitlab_simulator.__main__ import main, read_seed
from gitlab_simulator.page import SHOWN, build_page_state, clean_log
from gitlab_simulator.server import build_app
from gitlab_simulator.state import GitLabState
from scenes import add_jobs, add_runner, build_state

Client = TestClient[Any, Any]
ORDER = {"project": "hpc/sim", "count": 20, "seconds": 3, "tags": ["hpc"]}


@pytest.fixture
def state() -> GitLabState:
    return build_state()


@pytest.fixture
async def client(state: GitLabState) -> AsyncIterator[Client]:
    async with TestClient(TestServer(build_app(state))) as client:
        yield client


async def test_the_page_needs_nothing_from_elsewhere(client: Client) -> None:
    page = await (await client.get("/")).text()
    assert "Run 20" in page
    assert "http:" not in page
    assert "https:" not in page


async def test_a_button_runs_as_many_jobs_as_it_says(client: Client, state: GitLabState) -> None:
    answer = await client.post("/-/page/run", json=ORDER)
    assert answer.status == 204
    assert [(job.status, job.tags) for job in state.jobs.values()] == [("pending", ["hpc"])] * 20
    assert "sleep 3" in next(iter(state.jobs.values())).spec.script


@pytest.mark.parametrize(
    ("wrong", "status", "said"),
    [
        ({"count": 0}, 400, "count:"),
        ({"seconds": "long"}, 400, "seconds:"),
        ({"project": "no/where"}, 404, "there is no project 'no/where'"),
    ],
)
async def test_a_wrong_order_is_refused_by_the_name_of_its_field(
    client: Client, state: GitLabState, wrong: dict[str, object], status: int, said: str
) -> None:
    answer = await client.post("/-/page/run", json=ORDER | wrong)
    assert answer.status == status
    assert said in await answer.text()
    assert state.jobs == {}


async def test_jobs_are_shown_with_their_runner_and_how_long_they_waited_and_ran(state: GitLabState) -> None:
    runner = add_runner(state, description="pool")
    (job,) = add_jobs(state)
    state.clock.advance(4)
    assert build_page_state(state)["jobs"][0]["waited"] == 4
    job.runner_id, job.system_id, job.started_at = runner.id, "s_1", state.clock.now()
    state.clock.advance(2.5)
    row = build_page_state(state)["jobs"][0]
    assert (row["runner"], row["system_id"], row["waited"], row["ran"]) == ("pool", "s_1", 4, 2.5)


async def test_the_latest_jobs_are_shown_and_all_are_counted(state: GitLabState) -> None:
    jobs = add_jobs(state, *[{}] * (SHOWN + 5))
    shown = build_page_state(state)
    assert [row["id"] for row in shown["jobs"]] == [job.id for job in reversed(jobs[5:])]
    assert shown["counts"] == {"pending": SHOWN + 5}


async def test_a_log_is_shown_without_what_is_meant_for_a_terminal(client: Client, state: GitLabState) -> None:
    (job,) = add_jobs(state)
    stamp = b"2026-11-23T14:51:07.839982Z 00O"
    job.trace += stamp + b" \x1b[0Ksection_start:17:step\r\x1b[0K\n" + stamp + b"+\x1b[32;1m$ echo hi\x1b[0;m\r\n"
    job.trace += b"2026-11-23T14:51:07.9Z 01O hi\n"
    assert await (await client.get(f"/-/page/jobs/{job.id}/log")).text() == "$ echo hi\nhi\n"
    assert (await client.get("/-/page/jobs/7/log")).status == 404


def test_a_log_without_control_characters_stays_as_it_is() -> None:
    assert clean_log("one\n  two [3] section\n") == "one\n  two [3] section\n"


def test_what_is_wrong_with_a_seed_file_is_said_by_the_name_of_its_field(tmp_path: Path) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text("projects: [{path: hpc/sim, brunch: main}]")
    with pytest.raises(ValueError, match=r"seed\.yaml: projects\.0\.brunch"):
        read_seed(seed)
    seed.write_text("projects: [")
    with pytest.raises(ValueError, match="no YAML"):
        read_seed(seed)


@pytest.mark.parametrize("listen", ["8929", "127.0.0.1:http", "127.0.0.1:70000"])
def test_a_wrong_address_is_said(
    listen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gitlab-simulator", "--listen", listen])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "HOST:PORT is wanted" in capsys.readouterr().err
