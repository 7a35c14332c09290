"""What a runner pod tells of its runner's words. The entry point is real; what the runner says is given.

tests/contract/gitlab/runner has it with GitLab's own runner.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bessemer.kinds.runnerpool.facts import RunnerPodFact
from bessemer.kinds.runnerpool.pods.runner_pods import parse_runner_pod
from bessemer.kinds.runnerpool.render import config
from tests.support.examples import examples

ENTRYPOINT = Path(config.__file__).with_name("entrypoint.sh")
REFUSED = (
    'couldn\'t execute POST against http://gitlab/api/v4/jobs/request: Post "http://gitlab/api/v4/jobs/request": '
    "dial tcp 10.0.0.1:80: connect: connection refused"
)
"""As gitlab-runner 19.4 writes it into the field status."""


def build_line(msg: str, level: str = "warning", **fields: Any) -> str:
    return json.dumps({"level": level, "msg": msg, **fields}, separators=(",", ":"), ensure_ascii=False)


def run(folder: Path, *lines: str, code: int = 0, **changes: str) -> RunnerPodFact:
    """Run a pod whose runner says these lines; return what is read of its end."""
    for name in ("home", "bin"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "job").write_text(changes.pop("job", "7"))
    (folder / "said").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for left in ("config.toml", ".runner_system_id"):
        (folder / "home" / left).unlink(missing_ok=True)
    (folder / "home" / "config.toml").write_text("concurrent = 1\n")
    runner = folder / "bin" / "gitlab-runner"
    # It reads its configuration, as the real one does, and ends a while after it has spoken.
    runner.write_text(f'#!/bin/bash\ncat "$BESSEMER_HOME/config.toml" >/dev/null\ncat {folder}/said\nexit {code}\n')
    runner.chmod(0o711)
    text = ENTRYPOINT.read_text().replace("/etc/bessemer/pod/job", str(folder / "job"))
    text = text.replace("/dev/termination-log", str(folder / "termination"))
    for name, value in changes.items():
        assert f"\n{name}=" in text
        text = text.replace(f"\n{name}=", f"\n{name}={value} # ", 1)
    environment = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "BESSEMER_MODE": "Pods",
        "BESSEMER_GRACE": "3600",
        "BESSEMER_POD_UID": "uid",
        "BESSEMER_RUNNER": "lab",
        "BESSEMER_SYSTEM_ID": "r_0123456789ab",
        "BESSEMER_HOME": str(folder / "home"),
    }
    done = subprocess.run(
        ["bash", "-c", text], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    message = (folder / "termination").read_text()
    assert len(message) < 4096, "the kubelet would cut it off"
    end = {"exitCode": done.returncode, "message": message, "finishedAt": "2026-03-02T06:00:00Z"}
    status = {"phase": "Running", "containerStatuses": [{"name": "runner", "state": {"terminated": end}}]}
    return parse_runner_pod({"metadata": {}, "status": status})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (build_line("Checking for jobs... failed", status=REFUSED), REFUSED.replace('"', "'")),
        (
            build_line(
                "Checking for jobs... failed", status="tls: failed to verify certificate: x509: certificate signed"
            ),
            "tls: failed to verify certificate: x509: certificate signed",
        ),
        (build_line("Checking for jobs... client error", "error", status="no such host"), "no such host"),
        (
            build_line("Checking for jobs... GitLab instance currently unavailable", status="503 Service Unavailable"),
            "503 Service Unavailable",
        ),
        (
            build_line("Checking for jobs... failed", status='a "quote", a \\, a\nline and \x1b[31mred'),
            "a 'quote', a  , a line and ?[31mred",
        ),
        (build_line("Checking for jobs... failed", status="größe"), "gr??"),
        (build_line("Checking for jobs... failed", status="x" * 10_000), ""),
        (build_line("Checking for jobs... failed", status="x" * 3000), "x" * 400),
        (build_line("Updating job... failed", "info", status="unimportant"), ""),
        ('{"level":"warning","msg":"Checking for jobs... failed","status":"cut off', ""),
    ],
)
def test_the_runners_own_words_are_told_printable_and_bounded(tmp_path: Path, line: str, said: str) -> None:
    pod = run(tmp_path, line)
    if said == "gr??":  # a byte each, or a character each: as the image's bash counts
        assert pod.said.startswith("gr?")
        return
    assert (pod.said, pod.claimed, pod.silent) == (said, (), False)


def test_a_runner_that_ends_with_an_error_is_told_with_its_last_error(tmp_path: Path) -> None:
    pod = run(tmp_path, build_line("Runtime platform", "info"), build_line("no such runner", "fatal"), code=1)
    assert (pod.reason, pod.message) == ("Error", "no such runner")
    assert run(tmp_path, "panic: runtime error", code=2).message == "panic: runtime error"


def test_a_runner_that_took_its_job_after_all_has_nothing_to_explain(tmp_path: Path) -> None:
    lines = [
        build_line("Checking for jobs... failed", status="502 Bad Gateway"),
        build_line("Checking for jobs... received", "info", job=7),
        build_line("Job failed", "error", status="what a job says"),
    ]
    pod = run(tmp_path, *lines)
    assert (pod.said, pod.claimed) == ("", (7,))


def test_of_many_jobs_that_were_cancelled_as_many_are_told_as_are_read(tmp_path: Path) -> None:
    pod = run(tmp_path, *(build_line("Checking for jobs... received", "info", job=10**17 + n) for n in range(100)))
    assert pod.claimed == tuple(10**17 + n for n in range(64))


def test_a_pod_that_asks_for_any_job_ends_with_the_runners_words_when_it_is_not_answered_for_long(
    tmp_path: Path,
) -> None:
    line = build_line("Checking for jobs... failed", status=REFUSED)
    pod = run(tmp_path, line, job="any", FAILING_SECONDS="0")
    assert (pod.reason, pod.message) == ("NotAnswered", REFUSED.replace('"', "'"))
    pod = run(tmp_path, line, job="any")
    assert (pod.state.value, pod.said) == ("Finished", REFUSED.replace('"', "'"))


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=300))
def test_whatever_the_runner_says_the_pods_last_word_can_be_read(tmp_path: Path, text: str) -> None:
    line = text.replace("\0", "").replace("\n", " ").replace("\r", " ")
    for each in (line, build_line("Checking for jobs... failed", status=text.replace("\0", ""))):
        pod = run(tmp_path, each)
        assert not pod.silent
        assert pod.said.isascii()
        assert pod.said.isprintable()
        assert len(pod.said) <= 400
