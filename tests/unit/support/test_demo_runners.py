"""What ``make demo-runners`` says of what it has measured, and when it gives up."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rich.console import Console

from local_kubernetes.errors import ClusterError
from tests.bench.runners.observations import PodObservation
from tests.support.demo_runners import NOTHING, Job, build_times, follow


def start(*lines: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "import sys; print(*sys.argv[1:], sep='\\n'); sys.exit(2)", *lines]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_times_count_from_the_webhook_and_the_end_of_the_last_job() -> None:
    jobs: dict[int, Job] = {
        1: {"started_at": 104.0, "first_trace_at": 105.0, "finished_at": 110.0},
        2: {"started_at": 106.0, "first_trace_at": None, "finished_at": 112.0},
    }
    pods = [
        PodObservation("a", "pool-0", created=100.5, job=1, gone=111.0),
        PodObservation("b", "pool-1", created=101.5, job=2, gone=112.75),
    ]
    console = Console(width=120)
    with console.capture() as capture:
        console.print(build_times(jobs, {1: 100.0, 2: 101.0}, pods, [111.5, 113.0]))
    rows = [" ".join(line.replace("│", " ").split()) for line in capture.get().splitlines()]
    assert "webhook -> pod created 0.50 s 0.50 s" in rows
    assert "webhook -> first line of the log 5.00 s 5.00 s" in rows
    assert "first webhook -> 2 pods created 1.50 s" in rows
    assert "first webhook -> all jobs run 6.00 s" in rows
    assert "last job ended -> no pod 0.75 s" in rows
    assert "last job ended -> no manager in GitLab 1.00 s" in rows


def test_the_watch_is_shown_up_to_the_line_that_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    with start("Ready=True", f"| | {NOTHING}", "more") as watch:
        follow(watch, lambda line: NOTHING in line)
        assert watch.stdout is not None
        assert watch.stdout.read() == "more\n"


def test_a_watch_that_ends_too_early_is_an_error_with_its_exit_code() -> None:
    with start("Ready=False") as watch, pytest.raises(ClusterError, match="exit code 2"):
        follow(watch, lambda line: NOTHING in line)
