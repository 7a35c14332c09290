"""Nodes and a kubelet that are not there: pods on them are said to run, and to end, and cost next to nothing.

kwok plays the kubelet. Of gitlab-runner, :class:`FakeRunners` does what counts for GitLab: each pod that is sent takes
one job by the runner protocol, and says that it has succeeded.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import yaml

from bessemer.api.wellknown import JOB_ANNOTATION, POOL_LABEL
from gitlab_simulator.control import Send
from local_kubernetes.binaries.tools import tool
from local_kubernetes.kubectl import Resource
from tests.bench.runners.scene import Scene

NODES = 10
MARK = "kwok.x-k8s.io/node"
PLACEMENT: Resource = {
    "nodeSelector": {MARK: "fake"},
    "tolerations": [{"key": MARK, "operator": "Exists", "effect": "NoSchedule"}],
}
"""What a pool says of its pods, so that they come to these nodes and no others do."""
JOB_MILLISECONDS = 4000
"""How long a pod that was sent lives."""
REQUESTS_AT_ONCE = 4
_READY = """
{{ $now := Now }}
phase: Running
conditions:
{{ range NodeConditions }}
- {type: {{ .type | Quote }}, status: {{ .status | Quote }}, reason: {{ .reason | Quote }},
   message: {{ .message | Quote }}, lastHeartbeatTime: {{ $now | Quote }}, lastTransitionTime: {{ $now | Quote }}}
{{ end }}
allocatable: {cpu: 1k, memory: 1Ti, pods: 1M}
capacity: {cpu: 1k, memory: 1Ti, pods: 1M}
"""
_RUNNING = """
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
containerStatuses:
{{ range .spec.containers }}
- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: true, restartCount: 0,
   state: {running: {startedAt: {{ $now | Quote }}}}}
{{ end }}
"""
_ENDED = """
{{ $now := Now }}
phase: Succeeded
containerStatuses:
{{ range .spec.containers }}
- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: false, restartCount: 0,
   state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }},
   message: MESSAGE}}}
{{ end }}
"""


@contextmanager
def run_fake_nodes(scene: Scene) -> Iterator[None]:
    """Have fake nodes as long as the context lasts."""
    kubectl, folder = scene.system, scene.cluster.kubeconfig.parent
    kubectl.apply(*[build_node(number) for number in range(NODES)])
    stages = folder / "kwok.yaml"
    stages.write_text(yaml.safe_dump_all(build_stages()), encoding="utf-8")
    command = [
        *(str(tool("kwok")), "--kubeconfig", str(scene.cluster.kubeconfig), "--config", str(stages)),
        *("--manage-nodes-with-annotation-selector", f"{MARK}=fake", "--node-lease-duration-seconds", "40"),
    ]
    with (
        (folder / "kwok.log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT) as kubelet,
    ):
        try:
            ready = ("wait", "nodes", "-l", f"{MARK}=fake", "--for=condition=Ready", "--timeout=60s")
            kubectl.run(*ready, timeout=70)
            yield
        finally:
            kubelet.terminate()
            kubelet.wait(30)
            kubectl.run("delete", "nodes", "-l", f"{MARK}=fake", timeout=60)


def build_node(number: int) -> Resource:
    """Return a node that kwok takes care of."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"fake-{number}", "labels": {MARK: "fake"}, "annotations": {MARK: "fake"}},
        "spec": {"taints": [{"key": MARK, "value": "fake", "effect": "NoSchedule"}]},
    }


def build_stages() -> list[Resource]:
    """Return what becomes of nodes and pods: pods run, those that were sent end well, those that are deleted go.

    Source: https://kwok.sigs.k8s.io/docs/user/stages-configuration/
    """
    alive = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
    sent = {"key": f'.metadata.annotations["{JOB_ANNOTATION}"]', "operator": "Exists"}
    deleted = {"key": ".metadata.deletionTimestamp", "operator": "Exists"}
    job = f'{{{{ index .metadata.annotations "{JOB_ANNOTATION}" }}}}'
    message = json.dumps(json.dumps({"outcome": "JobTaken", "jobs": ["JOB"]})).replace('\\"JOB\\"', job)
    ended = _ENDED.replace("MESSAGE", message).replace("{{ index .meta", "{{ index $.meta")
    not_ready = {
        "key": '.status.conditions.[] | select( .type == "Ready" ) | .status',
        "operator": "NotIn",
        "values": ["True"],
    }
    return [
        _build_stage("ready", [not_ready], {"statusTemplate": _READY}, kind="Node"),
        _build_stage("run", [alive, _in_phase("Pending")], {"statusTemplate": _RUNNING}),
        _build_stage("end", [alive, sent, _in_phase("Running")], {"statusTemplate": ended}, JOB_MILLISECONDS),
        _build_stage("go", [deleted], {"delete": True}),
    ]


def _in_phase(phase: str) -> Resource:
    return {"key": ".status.phase", "operator": "In", "values": [phase]}


def _build_stage(
    name: str, expressions: list[Resource], following: Resource, delay: int = 0, kind: str = "Pod"
) -> Resource:
    spec: Resource = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": expressions},
        "next": following,
    }
    if delay:
        spec["delay"] = {"durationMilliseconds": delay}
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


class FakeRunners:
    """Takes a job for each pod on a fake node that was sent for one."""

    def __init__(self, send: Send, tokens: Mapping[str, str]) -> None:
        self._send, self._tokens = send, tokens
        """The runners' tokens by the names of their pools."""
        self._asked: set[str] = set()
        self._done: list[Future[None]] = []
        self._workers = ThreadPoolExecutor(REQUESTS_AT_ONCE)

    def note(self, pod: Mapping[str, Any]) -> None:
        """Look at a pod that has changed."""
        metadata = pod["metadata"]
        token = self._tokens.get((metadata.get("labels") or {}).get(POOL_LABEL, ""))
        runs = (pod.get("status") or {}).get("phase") == "Running"
        if token is None or not runs or JOB_ANNOTATION not in metadata["annotations"] or metadata["uid"] in self._asked:
            return
        self._asked.add(metadata["uid"])
        environment = {item["name"]: item.get("value") for item in pod["spec"]["containers"][0]["env"]}
        self._done.append(self._workers.submit(self._run_job, token, environment["BESSEMER_SYSTEM_ID"]))

    def close(self) -> None:
        """Take no more jobs. Raises BenchError where GitLab refused one."""
        self._workers.shutdown(cancel_futures=True)
        for done in self._done:
            if not done.cancelled():
                done.result()

    def _run_job(self, token: str, system_id: str | None) -> None:
        job = self._send("POST", "/api/v4/jobs/request", {"token": token, "system_id": system_id, "info": {}})
        if job is not None:
            self._send("PUT", f"/api/v4/jobs/{job['id']}", {"token": job["token"], "state": "success"})
