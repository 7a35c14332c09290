"""Reports of jobs: the variables that they leave to later ones, and the tests that pipelines have."""

from __future__ import annotations

from typing import Any

import pytest

from gitlab_simulator.payload import build_payload
from gitlab_simulator.queues import claim_job, heartbeat
from gitlab_simulator.reports import DOTENV_BYTES, WrongReportError, build_test_report, pack, parse_dotenv
from gitlab_simulator.state import GitLabState
from scenes import add_jobs, add_runner, build_state

JUNIT = b"""<testsuites><testsuite name="s">
<testcase classname="mpi" name="bandwidth" time="1.5"/>
<testcase classname="mpi" name="latency" time="0.5"><failure message="too slow">12 us</failure></testcase>
<testcase classname="gpu" name="present"><skipped/></testcase>
</testsuite></testsuites>"""


def test_a_job_leaves_variables_to_those_of_later_stages() -> None:
    state = build_state()
    first, second = add_jobs(state, {"stage": "build"}, {"stage": "test", "variables": {"OWN": "1", "ADDRESS": "x"}})
    first.artifacts["dotenv"] = (".env.gz", pack(b"ADDRESS=10.0.0.1\nSTATE = up \n"))
    variables = {one["key"]: one["value"] for one in build_payload(state, second, add_runner(state))["variables"]}
    assert (variables["ADDRESS"], variables["STATE"], variables["OWN"]) == ("10.0.0.1", "up", "1")
    again = {one["key"] for one in build_payload(state, first, add_runner(state))["variables"]}
    assert "ADDRESS" not in again


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no variable\n", "Invalid Format"),
        ("A B=1\n", "Key can contain only"),
        ("A=" + "x" * DOTENV_BYTES, "Too Big"),
        ("".join(f"A{number}=1\n" for number in range(21)), "more than 20 variables"),
    ],
)
def test_variables_that_gitlab_does_not_take(text: str, said: str) -> None:
    with pytest.raises(WrongReportError, match=said):
        parse_dotenv(pack(text.encode()))


def test_what_is_not_packed_is_no_report() -> None:
    with pytest.raises(WrongReportError, match="Invalid Format"):
        parse_dotenv(b"A=1\n")


def test_the_tests_of_a_pipeline_are_counted_by_job() -> None:
    state = build_state()
    tested, broken, _ = add_jobs(state, {"name": "verify"}, {"name": "broken"}, {"name": "silent"})
    tested.artifacts["junit"] = ("junit.xml.gz", pack(JUNIT))
    broken.artifacts["junit"] = ("junit.xml.gz", pack(b"<testsuite>"))
    report = build_test_report(state.jobs.values())
    counts = ("total_count", "success_count", "failed_count", "skipped_count", "error_count")
    assert [report[name] for name in counts] == [3, 1, 1, 1, 0]
    assert report["total_time"] == 2
    verify, other = report["test_suites"]
    assert (verify["name"], verify["suite_error"]) == ("verify", None)
    assert [(one["name"], one["status"], one["system_output"]) for one in verify["test_cases"]] == [
        ("bandwidth", "success", None), ("latency", "failed", "12 us"), ("present", "skipped", None),
    ]  # fmt: skip
    assert (other["name"], other["total_count"]) == ("broken", 0)
    assert "JUnit XML parsing failed" in other["suite_error"]


def test_reports_are_sent_however_the_job_ends() -> None:
    state = build_state()
    artifacts: dict[str, Any] = {"paths": ["out"], "reports": {"dotenv": ["build.env"], "junit": ["*.xml"]}}
    add_jobs(state, {"artifacts": artifacts})
    runner = add_runner(state)
    got = _claim(state, runner)
    assert [(one["artifact_type"], one["name"], one["artifact_format"], one["when"]) for one in got] == [
        ("archive", "", "zip", "on_success"), ("dotenv", ".env", "gzip", "always"),
        ("junit", "junit.xml", "gzip", "always"),
    ]  # fmt: skip


def _claim(state: GitLabState, runner: Any) -> list[dict[str, Any]]:
    job = claim_job(state, runner, heartbeat(state, runner, "s_012345678901", {}, ""), "test")
    assert job is not None
    found: list[dict[str, Any]] = build_payload(state, job, runner)["artifacts"]
    return found
