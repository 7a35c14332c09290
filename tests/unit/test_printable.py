"""Whatever others write, a status, an event, a log and a terminal are given printable text only."""

from __future__ import annotations

import io
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

from bessemer.api.clusterbuild.resource import parse_cluster_build
from bessemer.api.clusterbuild.status import ClusterBuildStatus, PhaseStatus
from bessemer.api.phase_contract import JobResult, NodeGroup, NodeState, PhaseName, PhaseResult, Progress
from bessemer.console.terminal import build_cell, make_output, print_line
from bessemer.engine.conditions import Verdict, compute_conditions
from bessemer.engine.event_facts import EventFact
from bessemer.engine.events import EventRecorder
from bessemer.kinds.clusterbuild.outcome import parse_outcome
from bessemer.kinds.clusterbuild.view.status import build_view
from bessemer.kinds.clusterbuild.view.watch import describe_changes
from bessemer.kube.pods import PodFact, PodState
from bessemer.kube.protocol import EVENTS
from bessemer.logformat import JsonFormatter, PrintableFormatter
from tests.fakes.kubernetes import FakeKubernetes

NOW = datetime(2026, 11, 23, tzinfo=UTC)
EVIL = "boom \x1b]0;pwned\x07\x1b[2J\x1b]52;c;cHduZWQ=\x1b\\ \u2028forged \u202eright\x9b31m\x85 \r[bold]x[/bold] \x00"
FOREIGN = st.text(max_size=60) | st.text(alphabet="\x1b[]0;2J\x07\x9b\u2028\u202e\r\n ab/#:", max_size=40)


def is_printable(text: str, keep: str = "") -> bool:
    return all(character.isprintable() or character in keep for character in text)


def list_texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in list_texts(part)]


@settings(deadline=None)
@given(FOREIGN)
@example(EVIL)
def test_what_a_phase_reports_is_printable(text: str) -> None:
    node = NodeGroup(hosts=text, state=NodeState.FAILED, reason=text, message=text)
    job = JobResult(name=text[:60], passed=False, state=text[:60], nodes=text, message=text, output_tail=text)
    message = text or "x"
    try:
        result = PhaseResult(succeeded=False, reason=message, message=text, nodes=[node], jobs=[job])
    except ValidationError:
        pytest.fail("a message can't make a result unreadable")
    pod = PodFact("p", "u", "o", "Verify", 1, PodState.FAILED, NOW, result=result.model_dump_json(), message=text)
    found = parse_outcome(pod)
    status = ClusterBuildStatus(
        phases=[PhaseStatus(name=PhaseName.VERIFY, reason=text, message=text)], jobs=[job], phase=text[:64]
    )
    for model in (found, result, status, Progress(message=text, nodes=[node])):
        assert all(is_printable(each, "\n") for each in list_texts(model.to_api()))


@settings(deadline=None)
@given(FOREIGN)
@example(EVIL)
def test_a_condition_is_printable(text: str) -> None:
    (condition,) = compute_conditions([Verdict("Ready", "False", "Failed", text)], [], 1, NOW)
    assert is_printable(condition.message, "\n")
    assert compute_conditions([Verdict("Ready", "False", "Failed", condition.message)], [condition], 1, NOW) == [
        condition
    ]


async def test_an_event_is_printable() -> None:
    kubernetes = FakeKubernetes(now=lambda: NOW)
    recorder = EventRecorder(kubernetes, "test", lambda: NOW)
    reference = {"namespace": "lab", "name": "oxygen", "uid": "u"}
    await recorder.record(reference, EventFact("Warning", "Failed", EVIL * 100))
    (event,) = await kubernetes.list_objects(EVENTS, "lab")
    assert is_printable(event["note"], "\n")
    assert len(event["note"]) <= 1024


@settings(deadline=None)
@given(FOREIGN)
@example("done\n2026-11-23 12:00:00 INFO root forged")
@example(EVIL)
def test_a_message_is_one_printable_line_of_the_log(text: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    record = logging.LogRecord("x", logging.INFO, "x", 1, "said: %s", (text,), None)
    handler.handle(record)
    (line,) = stream.getvalue().removesuffix("\n").split("\n")
    assert is_printable(line)
    assert line.startswith("INFO said:")


def test_a_traceback_can_forge_no_line_of_the_log() -> None:
    try:
        raise ValueError(f"{EVIL}\nINFO forged")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x", 1, "failed", (), sys.exc_info())
    first, *rest = PrintableFormatter("%(levelname)s %(message)s").format(record).split("\n")
    assert first == "ERROR failed"
    assert any("ValueError: boom" in line for line in rest)
    assert all(line.startswith("  ") and is_printable(line) for line in rest)


@settings(deadline=None)
@given(FOREIGN)
@example("done\n{}")
@example(EVIL)
def test_a_record_is_one_json_object_on_one_line(text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        record = logging.LogRecord("bessemer.x", logging.ERROR, "x", 1, "said: %s", (text,), sys.exc_info())
    line = JsonFormatter().format(record)
    assert is_printable(line)
    found = json.loads(line)
    assert set(found) == {"time", "level", "logger", "message", "trace"}
    assert (found["level"], found["logger"]) == ("ERROR", "bessemer.x")
    assert is_printable(found["message"])
    assert "ValueError" in found["trace"]
    assert is_printable(found["trace"], "\n")


@settings(deadline=None)
@given(FOREIGN)
@example(EVIL)
def test_a_terminal_is_neither_steered_nor_given_markup(text: str) -> None:
    stream = io.StringIO()
    print_line(Console(file=stream, width=10_000), f"[red] said: {text}")
    line = stream.getvalue().removesuffix("\n")
    assert is_printable(line)
    assert "[red]" in line
    assert is_printable(build_cell(text).plain)
    assert is_printable(make_output(text), "\n")


@settings(deadline=None)
@given(FOREIGN)
@example(EVIL)
def test_the_view_of_a_build_is_printable_whatever_stands_in_the_object(text: str) -> None:
    word = text[:60] or "x"
    condition = {"type": "Progressing", "status": "True", "lastTransitionTime": NOW.isoformat()}
    raw = {
        "metadata": {"namespace": "lab", "name": "oxygen", "uid": "u"},
        "spec": {},
        "status": {
            "phase": word,
            "phases": [{"name": "Verify", "state": "Failed", "message": text, "reason": word}],
            "nodes": {"groups": [{"hosts": text, "state": "Failed", "reason": word}]},
            "conditions": [{**condition, "reason": word, "message": text}],
        },
    }
    build = parse_cluster_build(raw)
    stream = io.StringIO()
    console = Console(file=stream, width=300)
    console.print(build_view(build, NOW))
    for line in describe_changes(ClusterBuildStatus(), build.status):
        print_line(console, line)
    assert is_printable(stream.getvalue(), "\n")
