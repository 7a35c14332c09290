"""The Warning events of a pod: the latest is told, whatever stands in them."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.foreign import make_line
from bessemer.kube.podwarnings import MOST_EVENTS, STARTUP_REASONS, PodWarning, get_pod_warning
from tests.fakes.kubernetes import FakeKubernetes

UID = "5f0c0b5e-7d5b-4f3c-9d57-0d2c6a3c5b11"
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("2026-11-23T12:00:00Z"),
    lambda part: (
        st.lists(part, max_size=2) | st.dictionaries(st.just("lastObservedTime") | st.text(), part, max_size=2)
    ),
    max_leaves=5,
)
EVENTS = st.fixed_dictionaries(
    {"type": st.just("Warning")},
    optional={
        "reason": st.sampled_from(sorted(STARTUP_REASONS)) | st.sampled_from(["Serving", "BackOff"]) | VALUES,
        "message": VALUES | st.just("\x1b]0;title\x07mount failed\u202e" + "x" * 9000),
        "lastTimestamp": VALUES,
        "eventTime": VALUES,
        "series": VALUES,
    },
)


def put(kubernetes: FakeKubernetes, *events: dict[str, Any], uid: str = UID) -> None:
    for number, event in enumerate(events):
        raw = {"metadata": {"name": f"e{number}"}, "involvedObject": {"uid": uid}, "type": "Warning", **event}
        kubernetes.objects["events", "ci", f"{uid}-{number}"] = raw


def read(kubernetes: FakeKubernetes, uid: str = UID) -> PodWarning | None:
    return asyncio.run(get_pod_warning(kubernetes, "ci", uid))


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes(now=lambda: datetime(2026, 11, 23, tzinfo=UTC))


def test_the_latest_warning_about_the_pod_is_told_whichever_field_has_its_time(kubernetes: FakeKubernetes) -> None:
    put(
        kubernetes,
        {"reason": "FailedScheduling", "message": "0/1 nodes", "eventTime": "2026-11-23T12:00:00.123456Z"},
        {"reason": "FailedAttachVolume", "message": "in use", "series": {"lastObservedTime": "2026-11-23T12:04:00Z"}},
        {"reason": "FailedMount", "message": 'secret "s" not found', "lastTimestamp": "2026-11-23T12:03:00Z"},
        {"reason": "Pulled", "message": "well", "lastTimestamp": "2026-11-23T13:00:00Z", "type": "Normal"},
    )
    put(kubernetes, {"reason": "FailedMount", "message": "other", "lastTimestamp": "2026-11-23T14:00:00Z"}, uid="other")
    assert read(kubernetes) == PodWarning("FailedAttachVolume", "in use")
    assert read(kubernetes, "none") is None
    assert kubernetes.calls[0] == ("list", "events", f"involvedObject.uid={UID},type=Warning")


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"reason": "FailedMount"}, PodWarning("FailedMount", "FailedMount")),
        ({"reason": "Serving", "message": "all is well"}, PodWarning("", "Serving: all is well")),
        ({"reason": "FailedKillPod"}, PodWarning("", "FailedKillPod")),
        ({"reason": "not a word", "message": "x"}, None),
        ({"message": "x"}, None),
    ],
)
def test_only_words_of_kubernetes_become_a_reason(
    kubernetes: FakeKubernetes, event: dict[str, Any], told: PodWarning | None
) -> None:
    put(kubernetes, event)
    assert read(kubernetes) == told


@given(st.lists(EVENTS, max_size=4))
def test_whatever_stands_in_events_is_read_within_bounds(events: list[dict[str, Any]]) -> None:
    kubernetes = FakeKubernetes(now=lambda: datetime(2026, 11, 23, tzinfo=UTC))
    put(kubernetes, *events)
    told = read(kubernetes)
    if told is None:
        assert not any(isinstance(event.get("reason"), str) and event["reason"] in STARTUP_REASONS for event in events)
        return
    assert told.reason in {"", *STARTUP_REASONS}
    assert told.message
    assert len(told.message) <= 1024 + 66
    assert make_line(told.message, 2000) == told.message


@pytest.mark.parametrize("uid", ["", "u,type=Normal", "u=x", "x" * 65])
def test_what_is_no_uid_selects_nothing(kubernetes: FakeKubernetes, uid: str) -> None:
    assert read(kubernetes, uid) is None
    assert kubernetes.calls == []


def test_no_more_events_are_asked_for_than_a_pod_has(kubernetes: FakeKubernetes) -> None:
    put(kubernetes, *[{"reason": "FailedMount", "message": str(number)} for number in range(MOST_EVENTS + 5)])
    told = read(kubernetes)
    assert told is not None
    assert re.fullmatch("[0-9]+", told.message)
    assert int(told.message) < MOST_EVENTS
