"""How benchmarks reach the GitLab simulator, and how they count what the operator asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kubernetes.client import ApiClient
from prometheus_client.parser import text_string_to_metric_families

from gitlab_simulator.control import Send, Simulator
from local_kubernetes.kubectl import Kubectl
from tests.bench.builds import BenchError
from tests.bench.operator_process import METRICS, SERVICE
from tests.support.gitlab_pod import SERVICE as GITLAB

RUNNERS_OWN = ("POST /api/v4/jobs/request", "PUT /api/v4/jobs/", "PATCH /api/v4/jobs/", "POST /api/v4/jobs/")
"""The beginnings of the routes that gitlab-runner itself asks for; the executor's artifacts are among them."""
REQUESTS = "bessemer_kubernetes_requests"
STANDING = frozenset({"leases"})
"""Asked for whether there are jobs or not: the leader's own Lease."""


@dataclass(frozen=True)
class Requests:
    """What was asked so far."""

    kubernetes: dict[str, int]
    """By the operator, by method and plural; without its Lease."""
    gitlab: dict[str, int]
    """By the operator, by route."""

    def subtract(self, earlier: Requests) -> Requests:
        """Return what was asked since."""
        return Requests(_subtract(self.kubernetes, earlier.kubernetes), _subtract(self.gitlab, earlier.gitlab))


def count_requests(system: Kubectl, gitlab: Simulator) -> Requests:
    """Ask the operator and the simulator for their counts."""
    text = system.run("get", "--raw", METRICS.format(namespace=system.namespace, service=SERVICE))
    own = {route: count for route, count in gitlab.requests().items() if not route.startswith(RUNNERS_OWN)}
    return Requests(parse_requests(text), own)


def send_over_api(client: ApiClient, namespace: str) -> Send:
    """Return how requests get to the simulator: by the API server's proxy for Services, over kept connections."""
    base = f"/api/v1/namespaces/{namespace}/services/http:{GITLAB}:80/proxy"

    def send(method: str, path: str, body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        serialized = client.param_serialize(
            method, base + path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        answer: Any = client.call_api(*serialized)
        text = answer.read()
        if answer.status >= 400:
            raise BenchError(f"{method} {path}: {answer.status} {text[:500]!r}")
        return json.loads(text) if text else None

    return send


def parse_requests(text: str) -> dict[str, int]:
    """Read the operator's requests to Kubernetes from the text that Prometheus would scrape."""
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = [sample for sample in families[REQUESTS].samples if sample.name == f"{REQUESTS}_total"]
    found = {(sample.labels["method"], sample.labels["plural"]): int(sample.value) for sample in samples}
    return {f"{method} {plural}": count for (method, plural), count in found.items() if plural not in STANDING}


def _subtract(counts: dict[str, int], earlier: dict[str, int]) -> dict[str, int]:
    left = {name: count - earlier.get(name, 0) for name, count in counts.items()}
    return {name: count for name, count in left.items() if count}
