from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bessemer.api.wellknown import PHASE_LABEL
from tests.bench.timeline import (
    PhaseSplit,
    PodTimes,
    compute_distribution,
    compute_handoffs,
    compute_quantile,
    compute_split,
    compute_times,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def raw_pod(phase: str, **container: Any) -> dict[str, Any]:
    """A pod as the API server shows it; ``container`` is the state of its phase container."""
    return {
        "metadata": {
            "name": "oxygen-verify-1",
            "labels": {PHASE_LABEL: "Verify"},
            "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "status": {"phase": phase, "containerStatuses": [{"name": "phase", "state": container}] if container else []},
    }


def times(phase: str, created: float, running: float, ended: float, *, succeeded: bool = True) -> PodTimes:
    """A pod that has ended, with whole seconds where Kubernetes has them."""
    created_at, finished_at = (START + timedelta(seconds=int(second)) for second in (created, ended))
    return PodTimes(phase, phase, created, created_at, running, ended, finished_at, succeeded)


def follow(*changes: tuple[float, dict[str, Any]]) -> PodTimes:
    """Return what is known after a pod was seen so."""
    known = None
    for seen, pod in changes:
        known = compute_times(known, pod, seen)
    assert known is not None
    return known


def test_each_state_counts_from_when_it_was_first_seen() -> None:
    ended = {"exitCode": 0, "finishedAt": "2026-01-02T03:04:08Z"}
    known = follow(
        (10.0, raw_pod("Pending")),
        (10.5, raw_pod("Pending", waiting={"reason": "ContainerCreating"})),
        (11.0, raw_pod("Running", running={"startedAt": "2026-01-02T03:04:06Z"})),
        (11.5, raw_pod("Running", running={"startedAt": "2026-01-02T03:04:06Z"})),
        (13.0, raw_pod("Running", terminated=ended)),
        (13.2, raw_pod("Succeeded", terminated=ended)),
    )
    assert (known.created, known.running, known.ended, known.succeeded) == (10.0, 11.0, 13.0, True)
    assert known.finished_at == START + timedelta(seconds=3)


def test_a_pod_that_was_never_seen_running_has_run_when_it_ended() -> None:
    ended = {"exitCode": 1, "finishedAt": "2026-01-02T03:04:06Z"}
    known = follow((10.0, raw_pod("Pending")), (12.0, raw_pod("Failed", terminated=ended)))
    assert (known.running, known.ended, known.succeeded) == (12.0, 12.0, False)


def test_handoffs_are_from_a_success_to_the_next_phase() -> None:
    pods = [
        times("BootCompute", 0.0, 1.0, 9.9),
        times("ConfigureServices", 10.0, 11.0, 20.0, succeeded=False),
        times("ConfigureServices", 25.0, 26.0, 30.0),
        times("Verify", 30.05, 31.0, 40.0),
        times("Cleanup", 40.2, 41.0, 42.0),
        times("Verify", 60.0, 61.0, 62.0),
    ]
    found = [(handoff.phase, handoff.next_phase, round(handoff.seconds, 3)) for handoff in compute_handoffs(pods)]
    assert found == [
        ("BootCompute", "ConfigureServices", 0.1),
        ("ConfigureServices", "Verify", 0.05),
        ("Verify", "Cleanup", 0.2),
    ]
    assert [handoff.api_seconds for handoff in compute_handoffs(reversed(pods))] == [1.0, 0.0, 0.0]


def test_a_pod_that_is_still_running_hands_nothing_over() -> None:
    running = PodTimes("verify", "Verify", 0.0, START, running=1.0)
    assert compute_handoffs([running, times("Cleanup", 5.0, 6.0, 7.0)]) == []


def test_the_split_adds_up_to_the_whole() -> None:
    pods = [times("Preflight", 1.0, 2.0, 5.0), times("Verify", 5.5, 6.0, 9.0), times("Cleanup", 9.25, 10.0, 12.0)]
    split = compute_split(pods, pressed=0.0, accepted=0.5, ready=12.5)
    assert split.phases == (
        PhaseSplit("Preflight", 1.0, 3.0),
        PhaseSplit("Verify", 0.5, 3.0),
        PhaseSplit("Cleanup", 0.75, 2.0),
    )
    assert (split.verified, split.ready, split.operator) == (9.0, 12.5, 0.5 + 0.5 + 0.25 + 0.5)
    assert split.accepted + split.operator + sum(phase.start + phase.work for phase in split.phases) == split.ready


def test_a_split_needs_pods_that_have_ended_and_a_verification() -> None:
    with pytest.raises(ValueError, match="pod verify has not ended"):
        compute_split([PodTimes("verify", "Verify", 0.0, START, running=1.0)], 0.0, 0.0, 9.0)
    with pytest.raises(ValueError, match="Verify"):
        compute_split([times("Cleanup", 1.0, 2.0, 3.0)], 0.0, 0.0, 9.0)


def test_distribution_of_a_hundred_and_one_samples() -> None:
    found = compute_distribution([float(number) for number in range(101)])
    assert (found.count, found.p50, found.p99, found.maximum) == (101, 50.0, 99.0, 100.0)


def test_distribution_of_one_sample_is_that_sample() -> None:
    assert compute_distribution([0.25]).p99 == 0.25
    with pytest.raises(ValueError, match="no samples"):
        compute_distribution([])


@pytest.mark.parametrize(("quantile", "estimate"), [(0.25, 0.5), (0.5, 1.0), (0.75, 2.0), (1.0, 3.0)])
def test_quantiles_of_a_histogram_are_linear_within_a_bucket(quantile: float, estimate: float) -> None:
    buckets = [(1.0, 10.0), (3.0, 20.0), (float("inf"), 20.0)]
    assert compute_quantile(buckets, quantile) == estimate


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    assert compute_quantile([(1.0, 10.0), (float("inf"), 20.0)], 0.99) == 1.0
    with pytest.raises(ValueError, match="nothing"):
        compute_quantile([(1.0, 0.0), (float("inf"), 0.0)], 0.5)
