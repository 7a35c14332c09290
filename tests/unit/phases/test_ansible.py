"""What Ansible's events mean, and how failures are told."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.phases.ansible import HostOutcome, HostState, PlaybookOutcome, build_failure_message
from bessemer.phases.ansible_events import PlaybookEvents, parse_task_message


def event(name: str, **data: Any) -> dict[str, Any]:
    return {"event": name, "event_data": data}


def gather(*events: dict[str, Any]) -> tuple[PlaybookEvents, list[str]]:
    told: list[str] = []
    gathered = PlaybookEvents(told.append)
    for each in events:
        assert gathered.handle(each) is False
    return gathered, told


def test_tasks_are_told_as_they_start() -> None:
    gathered, told = gather(event("playbook_on_task_start", task="Install munge"), event("verbose"))
    assert told == ["Install munge"]
    assert gathered.task == "Install munge"


def test_hosts_end_as_the_recap_says() -> None:
    stats = event(
        "playbook_on_stats",
        processed={"oxygen1": 1, "oxygen2": 1},
        ok={"oxygen1": 5},
        failures={"oxygen2": 1},
        dark={"oxygen3": 1},
    )
    gathered, _ = gather(stats)
    assert gathered.ended
    assert (set(gathered.seen), gathered.failed, gathered.unreachable) == (
        {"oxygen1", "oxygen2"},
        ("oxygen2",),
        ("oxygen3",),
    )


def test_a_playbook_without_a_recap_has_not_ended() -> None:
    assert not gather(event("playbook_on_task_start", task="Install munge"))[0].ended


def test_a_failure_is_kept_with_its_task() -> None:
    gathered, _ = gather(event("runner_on_failed", host="oxygen2", task="Install munge", res={"msg": "no package"}))
    assert gathered.messages == {"oxygen2": "Install munge: no package"}


def test_a_failure_that_the_playbook_ignores_is_none() -> None:
    data = {"host": "oxygen2", "task": "Look", "res": {"msg": "no"}, "ignore_errors": True}
    assert gather(event("runner_on_failed", **data))[0].messages == {}


def test_an_unreachable_host_says_why() -> None:
    gathered, _ = gather(event("runner_on_unreachable", host="oxygen2", task="Facts", res={"msg": "timed out"}))
    assert gathered.messages == {"oxygen2": "Facts: timed out"}


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"msg": "non-zero return code", "stderr": "no such\nservice"}, "non-zero return code: no such service"),
        ({"msg": "One or more items failed", "results": [{"msg": "fine"}, {"failed": True, "msg": "bad"}]}, "bad"),
        ({"censored": "the output has been hidden"}, "the output has been hidden"),
        ({"msg": {"odd": "value"}}, "{'odd': 'value'}"),
        ({}, "failed without a message"),
    ],
)
def test_what_a_task_said_is_one_line(result: dict[str, Any], said: str) -> None:
    assert parse_task_message(result) == said


def test_hosts_that_failed_alike_are_told_together() -> None:
    outcome = PlaybookOutcome(
        {
            "oxygen1": HostOutcome(HostState.OK),
            "oxygen2": HostOutcome(HostState.FAILED, "Install munge: no package"),
            "oxygen3": HostOutcome(HostState.FAILED, "Install munge: no package"),
            "oxygen4": HostOutcome(HostState.UNREACHABLE),
        }
    )
    assert build_failure_message(outcome.failed()) == "oxygen[2-3]: Install munge: no package; oxygen4: Unreachable"
