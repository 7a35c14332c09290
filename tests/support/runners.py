"""A namespace with a GitLab simulator and runner pools, for the end-to-end tests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from gitlab_simulator.control import Simulator
from local_kubernetes.kubectl import Kubectl, KubectlError, Resource
from local_kubernetes.protocol import Cluster
from tests.support.checkout import ROOT
from tests.support.gitlab_pod import build_url, install_simulator
from tests.support.runner_image import build_runner_image
from tests.support.site import SYSTEM_NAMESPACE

PROJECT = "hpc/simulations"
NAMESPACE = "runners"
SOON = 60
"""Timeout in seconds for a few pods on a busy machine."""


@dataclass
class Runners:
    """A namespace with a GitLab and pools."""

    kubectl: Kubectl
    gitlab: Simulator
    image: str
    access_token: str
    made: list[str] = field(default_factory=list)

    def apply_secret(self, name: str, value: str) -> None:
        """Write a Secret as a user would."""
        metadata = {"name": name, "annotations": {"bessemer.dev/for": build_url(self.kubectl.namespace)}}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": value}}
        self.kubectl.apply(secret)

    def apply_pool(self, name: str, tags: list[str], *, ready: bool = True, **spec: Any) -> None:
        """Apply a pool, with a managed runner by default; wait until it is ready."""
        self.kubectl.apply(self.build_pool(name, tags, **spec))
        self.made.append(name)
        if ready:
            self.wait_until_ready(name)

    def build_pool(self, name: str, tags: list[str], **spec: Any) -> Resource:
        """Return the manifest of a pool, with a managed runner by default."""
        own = {
            "gitlab": {
                "url": build_url(self.kubectl.namespace),
                "scope": {"type": "Project", "path": PROJECT},
                "apiTokenSecret": {"name": "gitlab"},
                "webhookSecret": {"name": "webhook"},
            },
            "runner": {"managed": {}, "tags": tags},
            "pod": self.pod,
        }
        metadata = {"name": name}
        return {"apiVersion": "bessemer.dev/v1alpha1", "kind": "RunnerPool", "metadata": metadata, "spec": own | spec}

    def wait_until_ready(self, name: str) -> None:
        """Wait until a pool is ready."""
        self.kubectl.run("wait", f"runnerpool/{name}", "--for=condition=Ready", f"--timeout={SOON}s", timeout=SOON + 10)

    @property
    def pod(self) -> Resource:
        """Return what a pool has to say of its pods."""
        return {"image": self.image, "imagePullPolicy": "Never"}

    def explain_refusal(self, **changes: Any) -> str:
        """Have the API server refuse the example with parts of its spec changed; return what it says."""
        try:
            self.kubectl.run("apply", "--dry-run=server", "-f", "-", given=json.dumps(build_example(**changes)))
        except KubectlError as error:
            return str(error)
        return ""

    def find_condition(self, pool: str, type_: str) -> dict[str, Any]:
        """Return a condition of a pool, nothing where it has none yet."""
        conditions = self.kubectl.get("rp", pool).get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == type_), {})

    def pods(self) -> list[Resource]:
        """List all runner pods."""
        return self.kubectl.items("pods", "-l", "bessemer.dev/pool")

    def wait_for_jobs(self, jobs: list[int], seconds: float = SOON) -> dict[int, dict[str, Any]]:
        """Wait until jobs have ended; return them."""

        def ended() -> dict[int, dict[str, Any]] | None:
            found = {number: job for number, job in self.gitlab.jobs().items() if number in jobs}
            over = all(job["status"] in ("success", "failed", "canceled") for job in found.values())
            return found if over else None

        result: dict[int, dict[str, Any]] = self.kubectl.wait_for("jobs end", ended, seconds, self.explain)
        return result

    def wait_until_empty(self, seconds: float = SOON, forget_seconds: float = 5) -> None:
        """Wait until no runner pod is left, and shortly after that no runner manager."""
        self.kubectl.wait_for("runner pods go", lambda: not self.pods(), seconds, self.explain)

        def list_managers() -> list[Any]:
            return [runner["managers"] for runner in self.gitlab.runners() if runner["managers"]]

        def explain() -> str:
            return f"{list_managers()}\n{self.explain()}"

        self.kubectl.wait_for("GitLab forgets the managers", lambda: not list_managers(), forget_seconds, explain)

    def delete_pools(self, *pools: str) -> None:
        """Delete pools; wait until everything of them is gone: pods, Secrets, accounts, runners and managers."""
        self.kubectl.run("delete", "runnerpool", *pools, timeout=120)
        self.wait_until_empty()
        kinds = ("secrets", "serviceaccounts", "rolebindings")

        def find_left() -> list[str]:
            found = [thing["metadata"]["name"] for kind in kinds for thing in self.kubectl.items(kind)]
            return [name for name in found if name in {f"{pool}-runner" for pool in pools}]

        # Kubernetes' garbage collector removes the objects of a pool some seconds after it.
        self.kubectl.wait_for("what belongs to the pools goes", lambda: not find_left(), SOON, lambda: str(find_left()))
        assert [runner["tags"] for runner in self.gitlab.runners()] == [["nothing"]]

    def list_events(self, pool: str, reason: str) -> list[str]:
        """Return the messages of a pool's events of a reason."""
        selector = f"involvedObject.name={pool},reason={reason}"
        events = self.kubectl.items("events", "--field-selector", selector)
        return [event.get("message") or event.get("note") or "" for event in events]

    @property
    def system(self) -> Kubectl:
        """kubectl in the operator's namespace."""
        return Kubectl(self.kubectl.program, self.kubectl.kubeconfig, SYSTEM_NAMESPACE)

    def explain(self) -> str:
        """Return a description of the current state, for a failing test."""
        return "\n".join(
            [
                str([(one["status"], one["error"]) for one in self.gitlab.deliveries()[-5:]]),
                self.kubectl.run("get", "pods,rp", "-o", "wide"),
                self.kubectl.run("describe", "rp")[-6000:],
                self.system.run("logs", "deployment/bessemer", "--tail=60"),
            ]
        )


def write_lines(count: int, first: int = 1) -> str:
    """Return a line of a script that logs numbered lines of its job."""
    return f"for n in $(seq {first} {first + count - 1}); do echo $CI_JOB_ID-line-$n; done"


def assert_whole_log(job: Resource, count: int) -> None:
    """Assert that the job's log has all its numbered lines, each once and in order, and none of another job."""
    found = re.findall(r"(\d+)-line-(\d+)\b", job["trace"])
    assert found == [(str(job["id"]), str(number)) for number in range(1, count + 1)], job["trace"][-2000:]


@contextmanager
def open_runners(bessemer: Cluster, namespace: str = NAMESPACE) -> Iterator[Runners]:
    """Yield a namespace with a GitLab in it, where Bessemer is installed; it goes at the end."""
    image = build_runner_image()
    bessemer.load_image(image.archive)
    kubectl = Kubectl(bessemer.kubectl, bessemer.kubeconfig, namespace)
    shared = kubectl.find("namespace", namespace) is not None
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    kubectl.run("wait", "serviceaccount/default", "--for=create", "--timeout=30s")
    # The existing image: sources may have changed since it was built.
    operator = Kubectl(bessemer.kubectl, bessemer.kubeconfig, SYSTEM_NAMESPACE).get("deployment", "bessemer")
    python = operator["spec"]["template"]["spec"]["containers"][0]["image"]
    gitlab = install_simulator(bessemer, namespace, python)
    tokens = gitlab.seed(
        projects=[{"path": PROJECT}],
        users=[{"username": "bot", "access": {"hpc": 50}}],
        tokens=[{"user": "bot", "name": "api", "scopes": ["api", "create_runner", "manage_runner"]}],
    )
    made = Runners(kubectl, gitlab, image.name, tokens["api"])
    made.apply_secret("gitlab", tokens["api"])
    made.apply_secret("webhook", "webhook-secret")
    # GitLab disables a webhook that fails, such as that of a pool that is created and deleted by tests.
    made.apply_pool("hub", ["nothing"])
    url = f"http://bessemer.{SYSTEM_NAMESPACE}.svc:8080/v1/gitlab/{namespace}/hub"
    gitlab.add_hook(project=PROJECT, url=url, token="webhook-secret")
    yield made
    kubectl.run("delete", "runnerpool", "--all", timeout=120)
    if not shared:
        kubectl.run("delete", "namespace", namespace, timeout=120)


def build_example(**changes: Any) -> Resource:
    """Return the example with changes to parts of its spec."""
    manifest: Resource = yaml.safe_load((ROOT / "examples" / "runnerpool.yaml").read_text(encoding="utf-8"))
    for part, fields in changes.items():
        own = manifest["spec"].get(part)
        manifest["spec"][part] = own | fields if isinstance(own, dict) else fields
    return manifest
