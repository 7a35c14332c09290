from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from bessemer.api.wellknown import JOB_ANNOTATION
from tests.bench.requests import Requests, parse_requests
from tests.bench.runners.fake_nodes import build_stages
from tests.bench.runners.journeys import COLD, compute_journey, find_webhooks
from tests.bench.runners.observations import PodObservation, compute_observation


def raw_pod(job: str | None = None, node: str | None = None, **states: dict[str, Any]) -> dict[str, Any]:
    """A pod as the API server shows it; ``states`` are those of its containers."""
    annotations = {JOB_ANNOTATION: job} if job else {}
    return {
        "metadata": {"name": "lab-0", "uid": "u", "annotations": annotations},
        "spec": {"nodeName": node} if node else {},
        "status": {"containerStatuses": [{"name": name, "state": state} for name, state in states.items()]},
    }


def test_each_state_of_a_pod_counts_from_when_it_was_first_seen() -> None:
    running: dict[str, Any] = {"running": {}}
    over = {"terminated": {"exitCode": 0}}
    leaving = raw_pod(job="7", node="n", runner=over)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    events = [
        (1.0, "ADDED", raw_pod()),
        (2.0, "MODIFIED", raw_pod(node="n")),
        (3.0, "MODIFIED", raw_pod(node="n", runner=running)),
        (4.0, "MODIFIED", raw_pod(job="7", node="n", runner=running)),
        (5.0, "MODIFIED", raw_pod(job="7", node="n", runner=running)),
        (6.0, "MODIFIED", raw_pod(job="7", node="n", runner=over)),
        (7.0, "MODIFIED", leaving),
        (8.0, "DELETED", leaving),
    ]
    observation = None
    for seen, event, pod in events:
        observation = compute_observation(observation, event, pod, seen)
    assert observation == PodObservation("u", "lab-0", 1.0, 7, 4.0, 2.0, 3.0, 6.0, 7.0, 8.0)


def test_a_pod_runs_when_all_its_containers_do() -> None:
    pod = raw_pod(build={"running": {}}, helper={"waiting": {}})
    assert compute_observation(None, "ADDED", pod, 1.0).running is None


JOB = {
    "id": 7,
    "status": "success",
    "failure_reason": None,
    "system_id": "r_1",
    "started_at": 103.0,
    "finished_at": 106.0,
    # Process 1 has started at second 50 of the machine's life, which is second 50.5 now.
    "trace": '$ echo "began $(date +%s.%N)"\nbegan 104.250000000 5000 50.50\n',
}


def test_a_jobs_way_is_split_where_it_passed_each_mark() -> None:
    pod = PodObservation("u", "lab-0", created=101.0, job=7, sent=101.0, scheduled=101.5, gone=108.0)
    # The first manager of the same name was another job's.
    journey = compute_journey(JOB, 100.0, pod, [("r_1", 90.0), ("r_2", 106.5), ("r_1", 109.0)])
    assert journey.compute_split(COLD) == [1.0, 0.5, 2.25, -0.75, 1.25]
    assert (journey.to_first_line, journey.to_end, journey.to_gone) == (4.25, 6.0, 3.0)


def test_a_job_that_went_wrong_is_no_sample() -> None:
    pod = PodObservation("u", "lab-0", created=101.0, gone=108.0)
    with pytest.raises(ValueError, match="job 7: failed, script_failure"):
        compute_journey(JOB | {"status": "failed", "failure_reason": "script_failure"}, 100.0, pod, [])


def test_only_events_of_waiting_jobs_count_each_the_first_time() -> None:
    def deliver(at: float, status: str) -> dict[str, Any]:
        return {"at": at, "body": json.dumps({"build_id": 7, "build_status": status})}

    assert find_webhooks([deliver(1, "created"), deliver(2, "pending"), deliver(3, "pending")]) == {7: 2}


def test_the_operators_lease_is_no_request_for_a_job() -> None:
    name = "bessemer_kubernetes_requests_total"
    text = f"# TYPE {name} counter\n" + "".join(
        f'{name}{{method="{method}",plural="{plural}"}} {count}\n'
        for method, plural, count in (("POST", "pods", 3.0), ("PATCH", "leases", 9.0))
    )
    assert parse_requests(text) == {"POST pods": 3}


def test_what_was_asked_meanwhile_is_the_difference() -> None:
    earlier, later = Requests({"POST pods": 1}, {}), Requests({"POST pods": 4, "GET secrets": 0}, {"GET jobs": 2})
    assert later.subtract(earlier) == Requests({"POST pods": 3}, {"GET jobs": 2})


def test_a_fake_pod_says_at_its_end_which_job_it_had() -> None:
    (end,) = [stage for stage in build_stages() if stage["metadata"]["name"] == "end"]
    rendered = end["spec"]["next"]["statusTemplate"].replace(
        f'{{{{ index $.metadata.annotations "{JOB_ANNOTATION}" }}}}', "7"
    )
    lines = [line for line in rendered.splitlines() if not line.startswith("{{")]
    text = "\n".join(lines).replace("{{ $now | Quote }}", '"now"')
    (status,) = yaml.safe_load(text.replace("{{ .name | Quote }}", '"runner"').replace("{{ .image | Quote }}", '"i"'))[
        "containerStatuses"
    ]
    assert json.loads(status["state"]["terminated"]["message"]) == {"outcome": "JobTaken", "jobs": [7]}
