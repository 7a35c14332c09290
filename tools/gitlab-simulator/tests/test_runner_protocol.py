"""The runner protocol over loopback HTTP, with a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientResponse, FormData, ServerDisconnectedError
from aiohttp.test_utils import TestClient, TestServer

from gitlab_simulator.model import JobStatus, Runner
from gitlab_simulator.server import build_app
from gitlab_simulator.state import GitLabState
from gitlab_simulator.traces import compute_checksum
from scenes import add_jobs, add_runner, build_state

Client = TestClient[Any, Any]
SYSTEM = "r_AbCdEf012345"


@pytest.fixture
def state() -> GitLabState:
    return build_state()


@pytest.fixture
def runner(state: GitLabState) -> Runner:
    return add_runner(state)


@pytest.fixture
async def client(state: GitLabState) -> AsyncIterator[Client]:
    async with TestClient(TestServer(build_app(state))) as client:
        yield client


async def _poll(client: Client, runner: Runner, last: str | None = None, **more: Any) -> ClientResponse:
    body = {"token": runner.token, "system_id": SYSTEM, **({"last_update": last} if last else {}), **more}
    return await client.post("/api/v4/jobs/request", json=body)


async def _claim(client: Client, runner: Runner, **more: Any) -> dict[str, Any]:
    answer = await _poll(client, runner, **more)
    assert answer.status == 201
    job: dict[str, Any] = await answer.json()
    return job


async def test_a_job_from_claim_to_success(client: Client, state: GitLabState, runner: Runner) -> None:
    (job,) = add_jobs(state, {"script": ["echo hi"], "tags": []})
    claimed = await _claim(client, runner)
    assert (claimed["id"], claimed["steps"][0]["script"]) == (job.id, ["echo hi"])
    assert {"runner_interrupted", "job_canceled"} <= set(claimed["features"]["failure_reasons"])
    headers = {"JOB-TOKEN": claimed["token"]}
    path = f"/api/v4/jobs/{job.id}"
    assert (await client.put(path, json={"token": claimed["token"], "state": "running"})).status == 200
    patched = await client.patch(f"{path}/trace", data=b"hello", headers=headers | {"Content-Range": "0-4"})
    assert (patched.status, patched.headers["Range"], patched.headers["Job-Status"]) == (202, "0-5", "running")
    output = {"checksum": compute_checksum(b"hello"), "bytesize": 5}
    body = {"token": claimed["token"], "state": "success", "output": output}
    assert (await client.put(path, json=body)).status == 200
    assert (job.status, job.claims, job.system_id) == (JobStatus.SUCCESS, 1, SYSTEM)
    late = await client.patch(f"{path}/trace", data=b"x", headers=headers | {"Content-Range": "5-5"})
    assert (late.status, late.headers["Job-Status"]) == (403, "success")


async def test_a_poll_is_held_and_ends_early_without_a_stamp_when_a_job_comes(
    client: Client, state: GitLabState, runner: Runner
) -> None:
    first = await _poll(client, runner)
    stamp = first.headers["X-GitLab-Last-Update"]
    assert first.status == 204
    held = asyncio.create_task(_poll(client, runner, stamp))
    async with asyncio.timeout(5):
        await _wait_for_second_request(client)
        (job,) = add_jobs(state)
        early = await held
    assert (early.status, early.headers["Gitlab-Ci-Builds-Polling"]) == (204, "yes")
    assert "X-GitLab-Last-Update" not in early.headers
    assert job.status is JobStatus.PENDING
    assert (await _poll(client, runner, stamp)).status == 201


async def _wait_for_second_request(client: Client) -> None:
    for _ in range(1000):
        counts = await (await client.get("/-/simulator/requests")).json()
        if counts["POST /api/v4/jobs/request"] == 2:
            return
    pytest.fail("the second request has not come")


async def test_a_poll_without_a_job_ends_with_the_long_poll(client: Client, state: GitLabState, runner: Runner) -> None:
    stamp = (await _poll(client, runner)).headers["X-GitLab-Last-Update"]
    held = asyncio.create_task(_poll(client, runner, stamp))
    async with asyncio.timeout(5):
        await _wait_for_second_request(client)
        await client.post("/-/simulator/clock/advance", json={"seconds": 49})
        assert not held.done()
        await client.post("/-/simulator/clock/advance", json={"seconds": 1})
        assert (await held).status == 204


async def test_a_paused_runner_claims_nothing_but_sees_that_a_job_came(
    client: Client, state: GitLabState, runner: Runner
) -> None:
    runner.paused = True
    stamp = (await _poll(client, runner)).headers["X-GitLab-Last-Update"]
    add_jobs(state)
    answer = await _poll(client, runner, stamp)
    assert answer.status == 204
    assert answer.headers["X-GitLab-Last-Update"] != stamp


async def test_bad_tokens_are_refused(client: Client, state: GitLabState, runner: Runner) -> None:
    assert (await client.post("/api/v4/jobs/request", json={})).status == 400
    assert (await client.post("/api/v4/jobs/request", json={"token": "glrt-no"})).status == 403
    assert (await client.post("/api/v4/jobs/request", data=b"no json")).status == 400
    runner.token_expires_at = state.clock.now()
    assert (await _poll(client, runner)).status == 403


async def test_too_many_requests_of_one_runner_token_are_refused_until_the_minute_is_over(
    client: Client, state: GitLabState, runner: Runner
) -> None:
    state.settings.runner_requests_per_minute = 2
    statuses = [(await _poll(client, runner)).status for _ in range(3)]
    assert statuses == [204, 204, 429]
    again = await _poll(client, runner)
    state.clock.advance(float(again.headers["Retry-After"]))
    assert (await _poll(client, runner)).status == 204


async def test_a_final_update_with_a_log_that_is_not_whole_is_412(
    client: Client, state: GitLabState, runner: Runner
) -> None:
    (job,) = add_jobs(state)
    claimed = await _claim(client, runner)
    body = {"token": claimed["token"], "state": "success", "output": {"checksum": "crc32:00000001", "bytesize": 9}}
    assert (await client.put(f"/api/v4/jobs/{job.id}", json=body)).status == 412
    assert job.status is JobStatus.RUNNING


async def test_a_final_update_may_have_to_be_sent_again(client: Client, state: GitLabState, runner: Runner) -> None:
    (job,) = add_jobs(state)
    claimed = await _claim(client, runner)
    state.settings.trace_pending_updates = 1
    output = {"checksum": compute_checksum(b""), "bytesize": 0}
    body = {"token": claimed["token"], "state": "failed", "failure_reason": "script_failure", "exit_code": 3}
    path = f"/api/v4/jobs/{job.id}"
    assert [(await client.put(path, json={**body, "output": output})).status for _ in range(2)] == [202, 200]
    assert (job.status, job.failure_reason, job.exit_code) == (JobStatus.FAILED, "script_failure", 3)


async def test_cancel_is_told_with_the_next_answer(client: Client, state: GitLabState, runner: Runner) -> None:
    (job,) = add_jobs(state)
    claimed = await _claim(client, runner, info={"features": {"cancel_gracefully": True}})
    job.status = JobStatus.CANCELING
    answer = await client.put(f"/api/v4/jobs/{job.id}", json={"token": claimed["token"], "state": "running"})
    assert (answer.status, answer.headers["Job-Status"]) == (200, "canceling")


async def test_jobs_that_are_not_there_and_tokens_of_others_are_told_apart(
    client: Client, state: GitLabState, runner: Runner
) -> None:
    (job,) = add_jobs(state)
    assert (await client.put("/api/v4/jobs/1", json={"token": "x"})).status == 404
    assert (await client.put(f"/api/v4/jobs/{job.id}", json={"token": "x"})).status == 403


async def test_managers_come_with_requests_and_go_when_deleted(
    client: Client, state: GitLabState, runner: Runner
) -> None:
    await _poll(client, runner)
    await _poll(client, runner)
    assert list(runner.managers) == [SYSTEM]
    body = {"token": runner.token, "system_id": SYSTEM}
    assert [(await client.delete("/api/v4/runners/managers", json=body)).status for _ in range(2)] == [204, 404]
    assert not runner.managers


async def test_artifacts_are_given_to_the_jobs_that_depend_on_them(
    client: Client, state: GitLabState, runner: Runner
) -> None:

    first, _ = add_jobs(state, {"stage": "build", "artifacts": {"paths": ["out"]}}, {"stage": "test"})
    claimed = await _claim(client, runner)
    assert claimed["artifacts"][0]["paths"] == ["out"]
    form = FormData()
    form.add_field("file", b"PK-zip", filename="artifacts.zip", content_type="application/octet-stream")
    headers = {"JOB-TOKEN": claimed["token"]}
    path = f"/api/v4/jobs/{first.id}"
    assert (await client.post(f"{path}/artifacts", data=form, headers=headers)).status == 201
    await client.put(path, json={"token": claimed["token"], "state": "success"})
    (dependency,) = (await _claim(client, runner))["dependencies"]
    got = await client.get(f"/api/v4/jobs/{dependency['id']}/artifacts", headers={"JOB-TOKEN": dependency["token"]})
    assert await got.read() == b"PK-zip"


async def test_time_stands_still_jumps_and_goes_on(client: Client, state: GitLabState) -> None:
    await client.post("/-/simulator/clock/resume")
    assert not state.clock.frozen
    await client.post("/-/simulator/clock/freeze")
    before = state.clock.now()
    await client.post("/-/simulator/clock/advance", json={"seconds": 90})
    assert state.clock.now() == before + 90


async def test_faults_strike_as_often_as_wanted(client: Client, state: GitLabState, runner: Runner) -> None:
    add_jobs(state)
    fault = {"route": "POST /api/v4/jobs/request", "status": 429, "headers": {"Retry-After": "7"}, "times": 1}
    assert (await client.post("/-/simulator/faults", json=fault)).status == 204
    struck = await _poll(client, runner)
    assert (struck.status, struck.headers["Retry-After"]) == (429, "7")
    assert (await _poll(client, runner)).status == 201


@pytest.mark.parametrize("kind", ["bad_json", "wrong_content_type"])
async def test_a_broken_201_has_claimed_the_job(client: Client, state: GitLabState, runner: Runner, kind: str) -> None:
    (job,) = add_jobs(state)
    await client.post("/-/simulator/faults", json={"route": "jobs/request", "kind": kind, "times": 1})
    answer = await _poll(client, runner)
    assert answer.status == 201
    assert job.status is JobStatus.RUNNING
    assert (answer.content_type == "application/json") is (kind == "bad_json")


async def test_a_reset_connection_gets_no_answer(client: Client, state: GitLabState, runner: Runner) -> None:
    await client.post("/-/simulator/faults", json={"route": "jobs/request", "kind": "reset", "times": 2})
    with pytest.raises(ServerDisconnectedError):
        await _poll(client, runner)


async def test_a_client_that_is_gone_claims_or_not_by_switch(
    client: Client, state: GitLabState, runner: Runner
) -> None:
    (job,) = add_jobs(state)
    state.settings.claim_on_dropped_connection = False
    await client.post("/-/simulator/faults", json={"route": "jobs/request", "kind": "reset", "times": 2})
    with pytest.raises(ServerDisconnectedError):
        await _poll(client, runner)
    assert job.status is JobStatus.PENDING
    state.settings.claim_on_dropped_connection = True
    await client.post("/-/simulator/faults", json={"route": "jobs/request", "kind": "reset", "times": 2})
    with pytest.raises(ServerDisconnectedError):
        await _poll(client, runner)
    assert (job.status, job.claims) == (JobStatus.RUNNING, 1)
