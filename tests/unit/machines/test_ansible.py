"""What Ansible's events mean, and how failures are told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.machines.ansible import HostOutcome, HostState, PlaybookOutcome, build_failure_message
from bessemer.machines.ansible_events import PlaybookEvents, parse_task_message


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


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["results", "failed", "msg", "stderr", "res", "host", "task", "ok"]), inner)
    ),
    max_leaves=20,
)


@given(
    name=st.sampled_from(["playbook_on_task_start", "runner_on_failed", "runner_on_unreachable", "playbook_on_stats"]),
    data=ANYTHING,
)
def test_any_event_is_taken_and_what_it_says_is_printable_and_short(name: str, data: object) -> None:
    gathered, _ = gather({"event": name, "event_data": data})
    for text in (gathered.task, *gathered.messages.values()):
        assert text.isprintable()
        assert len(text) <= 500


def test_control_sequences_and_megabytes_of_a_failed_task_do_not_reach_the_message() -> None:
    said = {"msg": "\x1b]0;pwned\x07\x1b[2Jno\u2028package", "stderr": "x" * 5_000_000}
    gathered, _ = gather(event("runner_on_failed", host="oxygen2", task="Install\x1b[1m", res=said))
    assert gathered.messages["oxygen2"].startswith("Install: no package: xxx")
    assert len(gathered.messages["oxygen2"]) == 500


def test_loops_in_loops_are_followed_to_their_first_failure() -> None:
    deep: dict[str, Any] = {"msg": "at the bottom", "failed": True}
    for _ in range(20):
        deep = {"failed": True, "results": [deep]}
    assert parse_task_message(deep) == "at the bottom"
    for _ in range(5000):
        deep = {"failed": True, "results": [deep]}
    assert parse_task_message(deep) == "failed without a message"
