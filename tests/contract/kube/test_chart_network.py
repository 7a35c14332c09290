"""What the chart opens to whom, as Helm renders it: webhooks on one port, all else on another."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from local_kubernetes.binaries.tools import tool
from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError
from tests.support.checkout import ROOT

CHART = ROOT / "helm" / "bessemer"
INGRESS = {"ingress": {"enabled": True, "host": "hooks.example.org"}}


def render(**values: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """Render the chart; return its objects by kind and name."""
    flags = [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
    text = run([tool("helm"), "template", "bessemer", str(CHART), "--namespace", "bessemer", *flags], timeout=60)
    found = [document for document in yaml.safe_load_all(text) if document]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def test_webhooks_have_a_service_and_a_port_of_their_own() -> None:
    objects = render()
    (webhooks,) = objects["Service", "bessemer"]["spec"]["ports"]
    (internal,) = objects["Service", "bessemer-internal"]["spec"]["ports"]
    assert (webhooks["targetPort"], internal["targetPort"]) == ("webhooks", "internal")
    (operator,) = objects["Deployment", "bessemer"]["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: str(port["containerPort"]) for port in operator["ports"]}
    environment = {one["name"]: one.get("value") for one in operator["env"]}
    assert (environment["BESSEMER_LISTEN_PORT"], environment["BESSEMER_INTERNAL_PORT"]) == (
        ports["webhooks"],
        ports["internal"],
    )
    assert environment["BESSEMER_PROGRESS_URL"] == "http://bessemer-internal.bessemer.svc:8081"
    assert {operator[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} == {"internal"}


def test_an_ingress_leads_to_webhooks_alone() -> None:
    assert ("Ingress", "bessemer") not in render()
    (rule,) = render(webhooks=INGRESS)["Ingress", "bessemer"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["backend"]["service"]["port"]["name"]) == ("/v1", "webhooks")
    with pytest.raises(ClusterError, match="host"):
        render(webhooks={"ingress": {"enabled": True}})


def test_metrics_are_open_to_phase_pods_replicas_and_who_is_named() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    policy = render(**{"networkPolicy.internalFrom": [peer]})["NetworkPolicy", "bessemer"]["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    for rule in policy["ingress"]:
        if any(port["port"] == "internal" for port in rule["ports"]):
            assert rule["from"], "not open to all"
    assert peer in policy["ingress"][-1]["from"]
    assert "from" not in policy["ingress"][0]
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": "webhooks"}]


def test_webhooks_and_egress_can_be_restricted_and_the_policy_left_out() -> None:
    rules = [{"ports": [{"port": 443}]}]
    policy = render(**{"networkPolicy.webhooksFrom": [{"podSelector": {}}], "networkPolicy.egress": rules})
    spec = policy["NetworkPolicy", "bessemer"]["spec"]
    assert spec["ingress"][0]["from"] == [{"podSelector": {}}]
    assert (spec["policyTypes"], spec["egress"]) == (["Ingress", "Egress"], rules)
    assert ("NetworkPolicy", "bessemer") not in render(**{"networkPolicy.enabled": False})
