from __future__ import annotations

import re
from concurrent.futures import Future
from typing import Any

import pytest
from rich.console import Console

from bessemer.api.wellknown import COMMIT_ANNOTATION
from tests.bench.builds import BenchError
from tests.bench.operator_process import OperatorMemory
from tests.bench.report import Machine
from tests.bench.requests import Requests
from tests.bench.triggers.measure import Burst, Lone
from tests.bench.triggers.report import Report, show
from tests.bench.triggers.scene import BuildWatch


def build(name: str, commit: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": {COMMIT_ANNOTATION: commit} if commit else None}}


def test_a_build_is_seen_with_each_of_its_commits_when_it_first_had_it() -> None:
    watch = BuildWatch()
    for event, found, seen in (
        ("ADDED", build("oxygen", "a"), 1.0),
        ("MODIFIED", build("oxygen", "a"), 2.0),
        ("MODIFIED", build("oxygen", "b"), 3.0),
        ("ADDED", build("of-a-user"), 4.0),
        ("DELETED", build("oxygen", "c"), 5.0),
    ):
        watch.note(event, found, seen)
    assert watch.wait_until("all", bool, 0.0) == {("oxygen", "a"): 1.0, ("oxygen", "b"): 3.0}
    assert watch.wait_for("oxygen", "b", 0.0) == 3.0
    with pytest.raises(BenchError, match="neon at 0123: not within"):
        watch.wait_for("neon", "0123", 0.0)


def test_a_watch_that_ended_ends_the_wait() -> None:
    watch, ended = BuildWatch(), Future[None]()
    ended.set_exception(ValueError("gone"))
    watch.note_end(ended)
    with pytest.raises(BenchError, match="ended too early"):
        watch.wait_for("oxygen", "a", 60.0)


def test_the_report_has_what_is_wanted_beside_what_was_measured() -> None:
    requests = Requests({"POST configmaps": 10}, {"GET /api/v4/projects": 5})
    burst = Burst(1000, 20, [0.1] * 990 + [2.0] * 10, 3, 9.0, 12.0, requests, OperatorMemory(90_000_000, 120_000_000))
    report = Report(Machine("Debian", "6", 2, 24 * 10**9, "1.37"), 0.5, Lone([0.1, 0.3], [0.01, 0.02], requests), burst)
    console = Console(record=True, width=150)
    show(report, console)
    text = console.export_text()
    for row in (
        r"webhook to ClusterBuild created \W+ 2 \W+ 0.200 \W+ 0.298 \W+ 0.300 \W+ 0.2",
        r"webhook to answer, s: maximum \W+ 2.00 \W+ 1",
        r"not answered with 2xx \W+ 3 \W+ 0",
        r"operator, resident at most, MB \W+ 120",
        r"one at a time \W+ 2 \W+ 5.00 \W+ 2.50 \W+ POST configmaps 5.00",
    ):
        assert re.search(row, text), (row, text)
