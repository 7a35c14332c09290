"""What a settled pod says is believed only where exit code and message agree."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bessemer.kinds.clusterbuild.outcome import parse_outcome
from bessemer.kube.pods import PodFact, PodState

POD = PodFact("oxygen-verify-1", "u", "o", "Verify", 1, PodState.SUCCEEDED, datetime(2026, 11, 23, tzinfo=UTC))
GOOD = '{"succeeded": true, "reason": "Succeeded"}'
BAD = '{"succeeded": false, "reason": "JobsFailed", "message": "1 of 2", "retryable": false}'


@pytest.mark.parametrize(
    ("state", "reason", "result", "succeeded", "expected", "retryable"),
    [
        (PodState.SUCCEEDED, "", GOOD, True, "Succeeded", False),
        (PodState.SUCCEEDED, "", "", False, "NoResult", True),
        (PodState.SUCCEEDED, "", "done!", False, "NoResult", True),
        (PodState.SUCCEEDED, "", BAD, False, "JobsFailed", False),
        (PodState.FAILED, "Error", BAD, False, "JobsFailed", False),
        (PodState.FAILED, "Error", GOOD, False, "NoResult", True),
        (PodState.FAILED, "OOMKilled", "", False, "OutOfMemory", True),
        (PodState.FAILED, "DeadlineExceeded", "", False, "PhaseDeadlineExceeded", True),
        (PodState.FAILED, "InitContainerFailed", "", False, "PlaybooksNotFetched", True),
        (PodState.LOST, "Evicted", BAD, False, "PodLost", True),
    ],
)
def test_an_outcome(state: PodState, reason: str, result: str, succeeded: bool, expected: str, retryable: bool) -> None:
    outcome = parse_outcome(replace(POD, state=state, reason=reason, result=result))
    assert (outcome.succeeded, outcome.reason, outcome.retryable) == (succeeded, expected, retryable)


def test_a_failure_without_a_result_tells_what_is_known() -> None:
    outcome = parse_outcome(replace(POD, state=PodState.FAILED, reason="Error", message="oops", exit_code=137))
    assert outcome.message == "pod oxygen-verify-1: the pod ended without a readable result (exit code 137): oops"


def test_nodes_that_a_lost_pod_told_of_are_not_forgotten() -> None:
    told = '{"succeeded": false, "reason": "Terminated", "nodes": [{"hosts": "oxygen2", "state": "Installed"}]}'
    outcome = parse_outcome(replace(POD, state=PodState.LOST, reason="PodDeleted", result=told))
    assert [group.hosts for group in outcome.nodes] == ["oxygen2"]
