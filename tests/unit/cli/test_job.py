"""``bessemer job``: against the operator's own endpoint, with a trigger in memory behind it."""

from __future__ import annotations

import os
import re
import signal
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from bessemer.api.jobprogress import BuildProgress, JobProgress, LogQuery, PhaseLine, PhaseLog, VerifyLine
from bessemer.cli.job import run as running
from bessemer.cli.job.log import JobLog, list_results, write_failed
from bessemer.cli.job.results import Exit, compute_exit, write_dotenv, write_junit
from bessemer.cli.job.settings import JobSettings, read_settings
from bessemer.errors import Invalid
from bessemer.web.app import add_public_routes
from tests.support.issuer import AUDIENCE
from tests.support.trigger_world import KEY, TriggerWorld, build_manifest, open_trigger_world

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
RULE = {"name": "button", "job": {"refs": ["main"], "audience": AUDIENCE}}


@dataclass
class Scene:
    world: TriggerWorld
    settings: JobSettings
    then: list[Callable[[], Any]] = field(default_factory=list)
    """What happens in the world after each request of the job."""

    def read(self, name: str) -> str:
        return (self.settings.wanted.folder / name).read_text()


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(running, "POLL_SECONDS", 0.0)
    async with open_trigger_world() as world:
        await world.apply(rules=[RULE])
        await world.settle()
        commit = world.push("one", oxygen=build_manifest())
        world.repository.jobs[302] = "running"
        then: list[Callable[[], Any]] = []

        @web.middleware
        async def live(request: web.Request, handler: Any) -> web.StreamResponse:
            answer: web.StreamResponse = await handler(request)
            await world.settle()
            if then:
                then.pop(0)()
                await world.settle()
            return answer

        app = web.Application(middlewares=[live])
        add_public_routes(app, world.kind.routes.public, world.deps.metrics)
        async with TestServer(app) as server:
            url = str(server.make_url(f"/v1/triggers/{KEY[0]}/{KEY[1]}"))
            environment = {
                "BESSEMER_TRIGGER_URL": url,
                "BESSEMER_ID_TOKEN": world.issuer.issue(world.now(), sha=commit),
                "BESSEMER_CLUSTER": "oxygen",
                "BESSEMER_FOLDER": str(tmp_path / "out"),
            }
            settings = read_settings(environment)
            assert isinstance(settings, JobSettings)
            yield Scene(world, settings, then)


async def test_a_job_that_is_stopped_closes_its_section(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.then += [lambda: None, lambda: scene.world.work(Preflight="Running"), lambda: None]
    scene.then += [lambda: os.kill(os.getpid(), signal.SIGTERM)]
    assert await running.run_build(scene.settings) is Exit.ERROR
    said = capsys.readouterr().out
    assert re.findall(r"section_(start|end):\d+:bessemer_oxygen_Preflight_1", said) == ["start", "end"]
    assert "stopped by SIGTERM" in said


async def test_a_build_that_gets_ready_ends_with_0_and_leaves_reports(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.then += [lambda: None, scene.world.end_build]
    assert await running.run_build(scene.settings) is Exit.READY
    out = capsys.readouterr().out
    assert "Building: oxygen" in out
    assert "oxygen: Ready" in out
    assert "BESSEMER_CLUSTER_NAME=oxygen\n" in scene.read("bessemer.env")
    assert ET.fromstring(scene.read("verification.xml")).tag == "testsuites"  # noqa: S314  our own file


async def test_a_build_that_fails_ends_with_1(scene: Scene) -> None:
    scene.then += [lambda: scene.world.end_build(ready=False)]
    assert await running.run_build(scene.settings) is Exit.FAILED
    assert "BESSEMER_CLUSTER_ADDRESS=\n" in scene.read("bessemer.env")


async def test_the_log_of_a_phase_is_in_the_log_of_the_job_and_its_end_after_a_failure(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    world = scene.world

    def boot() -> None:
        world.work(BootManagement="Running")
        world.log("oxygen-boot-management-1", *(f"line {number}" for number in range(30)))

    def fail() -> None:
        world.log("oxygen-boot-management-1", "oxygen1: NeverNetbooted")
        world.work(BootManagement="Failed")
        world.end_build(ready=False)

    scene.then += [boot, lambda: None, fail]
    assert await running.run_build(scene.settings) is Exit.FAILED
    section, _, end = capsys.readouterr().out.partition("section_end:")
    assert section.index("section_start:") < section.index("line 0\n") < section.index("oxygen1: NeverNetbooted")
    assert section.count("line 29\n") == 1
    assert "oxygen BootManagement: the last lines of its log\n  line 11\n" in end
    assert "  oxygen1: NeverNetbooted\n" in end


async def test_a_refused_job_ends_with_3_and_says_why_without_its_token(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    token = scene.world.issuer.issue(scene.world.now(), project_id="21")
    settings = JobSettings(scene.settings.url, {"Authorization": f"Bearer {token}"}, scene.settings.wanted)
    assert await running.run_build(settings) is Exit.REFUSED
    out = capsys.readouterr().out
    assert "OtherProject" in out
    assert token.split(".")[1] not in out


async def test_a_job_that_is_cancelled_aborts_its_build(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    async def cancel() -> Exit:
        return await running.run_abort(scene.settings)

    assert await cancel() is Exit.READY, "nothing was asked for yet"
    assert "nothing to abort" in capsys.readouterr().out
    scene.then += [lambda: None, lambda: scene.world.end_build(ready=False, reason="Aborted")]
    assert await running.run_build(scene.settings) is Exit.ABORTED
    assert await cancel() is Exit.READY


async def test_an_operator_that_is_away_for_a_while_is_waited_for(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([503, 429])

    async def flaky(request: web.Request) -> web.StreamResponse:
        status = next(answers, None)
        if status is not None:
            return web.json_response({"reason": "NoLeader", "message": "standing by"}, status=status)
        done = JobProgress(record="r", state="Succeeded", final=True)
        return web.json_response(done.to_api())

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", flaky)
    async with TestServer(app) as server:
        settings = JobSettings(str(server.make_url("/t")), {}, scene.settings.wanted)
        assert await running.run_build(settings) is Exit.READY
    assert "waiting: standing by" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, "BESSEMER_TRIGGER_URL"),
        ({"BESSEMER_TRIGGER_URL": "ftp://a/b"}, "BESSEMER_TRIGGER_URL"),
        ({"BESSEMER_TRIGGER_URL": "https://user:pw@a/b"}, "BESSEMER_TRIGGER_URL"),
        ({"BESSEMER_TRIGGER_URL": "https://a/b"}, "BESSEMER_ID_TOKEN"),
        ({"BESSEMER_TRIGGER_URL": "https://a/b", "BESSEMER_ID_TOKEN": "a\nX: y"}, "BESSEMER_ID_TOKEN"),
        ({"BESSEMER_TRIGGER_URL": "https://a/b", "BESSEMER_ID_TOKEN_FILE": "/nowhere"}, "BESSEMER_ID_TOKEN_FILE"),
        ({"BESSEMER_TRIGGER_URL": "https://a/b", "BESSEMER_AUTH": "job-token"}, "CI_JOB_TOKEN"),
        ({"BESSEMER_TRIGGER_URL": "https://a/b", "BESSEMER_AUTH": "password"}, "BESSEMER_AUTH"),
        ({"BESSEMER_AUTH": "kubeconfig", "CI_JOB_ID": "7"}, "BESSEMER_MANIFEST"),
        ({"BESSEMER_AUTH": "kubeconfig", "BESSEMER_MANIFEST": "a.yaml", "CI_JOB_ID": "x"}, "CI_JOB_ID"),
    ],
)
def test_a_variable_that_is_wrong_is_named(environment: dict[str, str], named: str) -> None:
    with pytest.raises(Invalid, match=named) as wrong:
        read_settings(environment)
    assert "X: y" not in wrong.value.message


def test_the_token_comes_from_a_file_and_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a.b.c\n")
    environment = {"BESSEMER_TRIGGER_URL": "https://a/b/", "BESSEMER_ID_TOKEN_FILE": str(tmp_path / "token")}
    settings = read_settings(environment)
    assert isinstance(settings, JobSettings)
    assert settings.headers == {"Authorization": "Bearer a.b.c"}
    assert "a.b.c" not in repr(settings)


def phase(name: str, state: str, attempt: int = 1, message: str = "") -> PhaseLine:
    return PhaseLine(name=name, state=state, attempt=attempt, message=message, started=NOW)


def progress(*phases: PhaseLine, **more: Any) -> JobProgress:
    build = BuildProgress(namespace="lab", name="oxygen", phases=list(phases))
    return JobProgress(record="r", state="Building", message="oxygen", builds=[build], **more)


def follow(
    steps: list[JobProgress], tell: Callable[[LogQuery], PhaseLog | None] = lambda _query: None
) -> tuple[list[str], list[LogQuery]]:
    """Write steps as the command does; return the lines, and what the operator was asked for."""
    log, lines, asked = JobLog(), list[str](), list[LogQuery]()
    wanted: LogQuery | None = None
    for step in steps:
        for _ in range(100):
            answer = step.model_copy(update={"log": tell(wanted) if wanted is not None else None})
            lines += log.write(answer, NOW, wanted)
            wanted = log.choose(step)
            behind = log.is_behind(step)
            asked += [wanted] if wanted is not None else []
            if not behind:
                break
        else:
            raise AssertionError("the command asks without an end")
    return lines + list(log.end(NOW)), asked


def test_each_phase_is_a_collapsible_section_with_its_end() -> None:
    at = int(NOW.timestamp())
    steps = [
        progress(phase("Preflight", "Running"), phase("BootManagement", "Pending", 0)),
        progress(phase("Preflight", "Succeeded"), phase("BootManagement", "Running")),
        progress(phase("Preflight", "Succeeded"), phase("BootManagement", "Failed", message="no power\nat all")),
        progress(phase("Preflight", "Succeeded"), phase("BootManagement", "Running", 2)),
    ]
    lines, _ = follow(steps)
    name = "bessemer_oxygen_BootManagement"
    assert lines == [
        "Building: oxygen",
        f"\x1b[0Ksection_start:{at}:bessemer_oxygen_Preflight_1[collapsed=true]\r\x1b[0Koxygen Preflight",
        "oxygen Preflight: Running",
        "oxygen Preflight: Succeeded",
        f"\x1b[0Ksection_end:{at}:bessemer_oxygen_Preflight_1\r\x1b[0K",
        f"\x1b[0Ksection_start:{at}:{name}_1[collapsed=true]\r\x1b[0Koxygen BootManagement",
        "oxygen BootManagement: Running",
        "oxygen BootManagement: Failed: no power",
        "at all",
        f"\x1b[0Ksection_end:{at}:{name}_1\r\x1b[0K",
        f"\x1b[0Ksection_start:{at}:{name}_2[collapsed=true]\r\x1b[0Koxygen BootManagement (attempt 2)",
        "oxygen BootManagement (attempt 2): Running",
        f"\x1b[0Ksection_end:{at}:{name}_2\r\x1b[0K",
    ]


def test_a_phases_log_is_in_its_section_and_is_read_to_its_end() -> None:
    pages = {
        ("Preflight", ""): PhaseLog(lines=["checks", "power"], after="1"),
        ("Preflight", "1"): PhaseLog(lines=["ssh"], after="2", more=True),
        ("Preflight", "2"): PhaseLog(lines=["done"], after="3"),
        ("BootManagement", ""): PhaseLog(lines=["boots"], after="4"),
    }
    steps = [
        progress(phase("Preflight", "Running")),
        progress(phase("Preflight", "Running")),
        progress(phase("Preflight", "Succeeded"), phase("BootManagement", "Running")),
        progress(phase("Preflight", "Succeeded"), phase("BootManagement", "Failed")),
    ]
    lines, asked = follow(steps, lambda query: pages.get((query.phase, query.after)))
    shown = [line.partition("\r")[0].partition(":bessemer_")[2] or line for line in lines]
    assert shown == [
        "Building: oxygen",
        "oxygen_Preflight_1[collapsed=true]",
        "oxygen Preflight: Running",
        "checks",
        "power",
        "ssh",
        "done",
        "oxygen Preflight: Succeeded",
        "oxygen_Preflight_1",
        "oxygen_BootManagement_1[collapsed=true]",
        "oxygen BootManagement: Running",
        "boots",
        "oxygen BootManagement: Failed",
        "oxygen_BootManagement_1",
    ]
    assert [(query.phase, query.after) for query in asked][:4] == [
        ("Preflight", ""), ("Preflight", "1"), ("Preflight", "2"), ("BootManagement", "")
    ]  # fmt: skip


def test_a_log_without_an_end_ends() -> None:
    lines, asked = follow(
        [progress(phase("Preflight", "Running")), progress(phase("Preflight", "Succeeded"))],
        lambda _query: PhaseLog(lines=["again"] * 200, after="1", more=True),
    )
    assert lines.count("again") == len(asked) * 200 <= 2200
    assert "(the log goes on: bessemer logs oxygen Preflight shows all of it)" in lines


def test_a_log_that_can_not_be_read_is_said_once_and_holds_up_nothing() -> None:
    steps = [progress(phase("Preflight", state)) for state in ("Running", "Running", "Running", "Succeeded")]
    lines, _ = follow(steps, lambda _query: PhaseLog(problem="Forbidden: pods/log"))
    assert [line for line in lines if "Forbidden" in line] == ["(the log can't be read: Forbidden: pods/log)"]
    assert "oxygen Preflight: Succeeded" in lines


def test_a_phase_that_was_skipped_holds_up_no_other() -> None:
    lines, _ = follow([progress(phase("BootManagement", "Skipped", 0), phase("Verify", "Running"))])
    assert "oxygen Verify: Running" in lines


@given(st.text(max_size=80))
def test_no_text_of_a_build_makes_a_section_or_steers_a_terminal(text: str) -> None:
    build = BuildProgress(
        namespace="lab", name="oxygen", message=text, verification=[VerifyLine(name="x", passed=False, message=text)]
    )
    log = PhaseLog(lines=[text], problem=text)
    shown = JobProgress(record="r", state="Failed", message=text, final=True, builds=[build, build], log=log)
    asked = LogQuery("oxygen", "Preflight", 1, last=20)
    for line in [*JobLog().write(shown, NOW, asked), *list_results(shown), *write_failed(asked, [text])]:
        assert line.isprintable()


@given(st.text(max_size=80))
def test_any_text_gives_a_report_that_can_be_read(text: str) -> None:
    job = VerifyLine(name="hostname", passed=False, message=text, output=text)
    shown = JobProgress(
        record="r", state="Failed", builds=[BuildProgress(namespace="n", name="oxygen", verification=[job])]
    )
    suite = ET.fromstring(write_junit(shown))[0]  # noqa: S314  our own text
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")


@given(st.text(max_size=40))
def test_no_value_of_the_dotenv_report_makes_another_variable(text: str) -> None:
    shown = JobProgress(
        record="r", state="Succeeded", builds=[BuildProgress(namespace="n", name="oxygen", ready=True, address=text)]
    )
    lines = write_dotenv(shown).splitlines()
    assert {line.split("=", 1)[0] for line in lines} >= {"BESSEMER_CLUSTER_NAME", "BESSEMER_CLUSTER_STATE"}
    assert all(line.startswith("BESSEMER_CLUSTER_") for line in lines)
    assert len(lines) <= 4


@pytest.mark.parametrize(
    ("state", "unwanted", "code"),
    [
        ("Succeeded", False, Exit.READY),
        ("Planned", False, Exit.READY),
        ("Failed", False, Exit.FAILED),
        ("Superseded", False, Exit.FAILED),
        ("Failed", True, Exit.ABORTED),
        ("Skipped", True, Exit.ABORTED),
        ("Refused", False, Exit.REFUSED),
        ("Skipped", False, Exit.REFUSED),
    ],
)
def test_the_exit_code_tells_what_became_of_a_build(state: str, unwanted: bool, code: Exit) -> None:
    assert compute_exit(JobProgress(record="r", state=state, unwanted=unwanted, final=True)) is code
