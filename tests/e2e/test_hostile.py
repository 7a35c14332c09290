"""What strangers and tenants send stops neither the operator, under the chart's memory limit, nor what others do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from local_kubernetes.kubectl import Kubectl
from tests.support.checkout import ROOT
from tests.support.runners import PROJECT, Runners
from tests.support.site import SYSTEM_NAMESPACE

pytestmark = pytest.mark.e2e

HOSTILE = ROOT / "tests" / "support" / "hostile"
HARMS = ("bomb", "drip", "endless", "deep", "page", "away")
DEPTH = 9_990
"""Levels of nesting, which with those around it is just what the API server takes."""
SHOWN_SECONDS = 90
"""For each harm to be met once and told: the total deadline of a request to GitLab, and some."""
SLOW_POSTS = 3_000
SLOW_SECONDS = 30
ODD_WEBHOOKS = 40_000
GROWTH_MIB = 150
"""By which the operator may grow meanwhile; its limit is 512 MiB, and it begins with less than 130."""


@pytest.fixture(scope="module")
def evil(runners: Runners) -> Iterator[Kubectl]:
    """Return kubectl where a pod runs that serves and sends what does harm."""
    kubectl = runners.kubectl
    image = runners.system.get("deployment", "bessemer")["spec"]["template"]["spec"]["containers"][0]["image"]
    metadata = {"name": "evil", "labels": {"app": "evil"}}
    programs = {path.name: path.read_text(encoding="utf-8") for path in HOSTILE.glob("*.py")}
    container = {
        "name": "evil",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["python", "/programs/gitlab.py", "8080", f"elsewhere.{kubectl.namespace}.svc"],
        "volumeMounts": [{"name": "programs", "mountPath": "/programs"}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    volume = {"name": "programs", "configMap": {"name": "evil"}}
    spec = {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 1}
    services = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": {"app": "evil"}, "ports": [{"port": 80, "targetPort": 8080}]},
        }
        for name in ("evil", "elsewhere")
    ]
    kubectl.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": programs},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        *services,
    )
    kubectl.run("wait", "pod/evil", "--for=condition=Ready", "--timeout=60s", timeout=70)
    yield kubectl
    kubectl.run("delete", "pod,configmap", "evil", timeout=60)
    kubectl.run("delete", "service", "evil", "elsewhere")


def read_operator(runners: Runners) -> tuple[int, int]:
    """Return the operator's resident memory in MiB, and how often it was started again."""
    pod = runners.system.items("pods", "--selector", "app.kubernetes.io/name=bessemer")[0]
    status = runners.system.run("exec", pod["metadata"]["name"], "--", "cat", "/proc/1/status")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found, status
    return int(found[1]) // 1024, sum(one["restartCount"] for one in pod["status"]["containerStatuses"])


@pytest.fixture
def operator_lives(runners: Runners) -> Iterator[None]:
    """The operator is neither restarted nor bloated by the test, and serves another pool's job after it."""
    before, restarts = read_operator(runners)
    yield
    after, restarts_after = read_operator(runners)
    print(f"operator: {before} MiB before, {after} MiB after")
    assert restarts_after == restarts
    assert after - before < GROWTH_MIB
    runners.apply_pool("honest", ["honest"])
    [job] = runners.gitlab.run_jobs(PROJECT, {"script": ["echo served"], "tags": ["honest"]})
    assert runners.wait_for_jobs([job])[job]["status"] == "success"
    runners.delete_pools("honest")


def test_a_gitlab_that_wants_to_do_harm_is_told_and_contained(
    runners: Runners, evil: Kubectl, operator_lives: None
) -> None:
    secret = {"name": "evil-token", "annotations": {"bessemer.dev/for": f"http://evil.{evil.namespace}.svc"}}
    evil.apply({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "stringData": {"token": "glpat-the-tenants"}})
    pools = [f"evil-{harm}" for harm in HARMS]
    for harm, name in zip(HARMS, pools, strict=True):
        gitlab = {
            "url": f"http://evil.{evil.namespace}.svc/{harm}",
            "scope": {"type": "Project", "path": PROJECT},
            "apiTokenSecret": {"name": "evil-token"},
        }
        evil.apply(runners.build_pool(name, [harm], gitlab=gitlab))
    for name in pools:
        evil.wait_for(
            f"{name} to be told",
            partial(_is_told, runners, name),
            SHOWN_SECONDS,
            runners.explain,
        )
    evil.wait_for("all harm to be met twice", lambda: _all_met(evil), SHOWN_SECONDS, lambda: evil.run("logs", "evil"))
    shown = json.dumps([evil.get("rp", name)["status"] for name in pools]) + evil.run("get", "events", "-o", "json")
    for word in ("hunter2", "<html", "glpat-the-tenants", "\\u001b", "\\u2028", "python-gitlab"):
        assert word not in shown, shown
    assert "elsewhere" not in evil.run("logs", "evil")
    evil.run("delete", "runnerpool", *pools, timeout=120)


def _is_told(runners: Runners, pool: str) -> bool:
    return runners.find_condition(pool, "Ready").get("status") == "False"


def _is_invalid(kubectl: Kubectl, kind: str) -> bool:
    return "InvalidSpec" in kubectl.run("get", kind, "deep", "-o", "jsonpath={.status.conditions[*].reason}")


def _all_met(evil: Kubectl) -> bool:
    asked = evil.run("logs", "evil")
    return all(asked.count(f" /{harm}/") >= 2 for harm in HARMS)


def nest(levels: int) -> str:
    """Return JSON that nests so deep, as no decoder of Python makes it."""
    return '{"a":' * levels + "1" + "}" * levels


def test_objects_that_nest_too_deep_stop_nothing_and_can_be_deleted(
    runners: Runners, evil: Kubectl, operator_lives: None
) -> None:
    pool = runners.build_pool(
        "deep", ["deep"], executor={"type": "Kubernetes", "kubernetes": {"image": "busybox", "settings": {"x": 1}}}
    )
    build: dict[str, Any] = json.loads(
        evil.run("create", "-f", str(ROOT / "examples" / "oxygen.yaml"), "--dry-run=client", "-o", "json")
    )
    build["metadata"] = {"name": "deep"}
    build["spec"]["configuration"]["variables"] = {"x": 1}
    for manifest in (pool, build):
        text = json.dumps(manifest).replace('{"x": 1}', nest(DEPTH))
        evil.run("create", "-f", "-", given=text)
    for kind in ("rp", "cb"):
        evil.wait_for(
            f"{kind} to be told",
            partial(_is_invalid, evil, kind),
            SHOWN_SECONDS,
            runners.explain,
        )
        evil.run("delete", kind, "deep", timeout=60)


def test_webhooks_of_strangers_take_neither_memory_nor_the_place_of_others(
    runners: Runners, evil: Kubectl, operator_lives: None
) -> None:
    before, _ = read_operator(runners)
    where = (f"bessemer.{SYSTEM_NAMESPACE}.svc", "8080", "/v1/gitlab/no/such-pool")
    sender = ("exec", "evil", "--", "python", "/programs/sender.py", *where)
    print(evil.run(*sender, "slow", str(SLOW_POSTS), str(SLOW_SECONDS), timeout=300))
    print(f"slow posts: {before} MiB before, {read_operator(runners)[0]} MiB after")
    print(evil.run(*sender, "odd", str(ODD_WEBHOOKS), timeout=900))
    print(f"odd webhooks: {read_operator(runners)[0]} MiB after")
