"""A namespace with a GitLab simulator and a build trigger, for the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import yaml

from gitlab_simulator.control import Simulator
from local_kubernetes.kubectl import Kubectl, Resource
from local_kubernetes.protocol import Cluster
from tests.support.checkout import ROOT
from tests.support.gitlab_pod import build_url, install_simulator
from tests.support.site import SYSTEM_NAMESPACE

PROJECT = "hpc/clusters"
PROJECT_PATH = "/projects/1"
"""The project in GitLab's API, by the number of the first one: the API server's proxy decodes a %2F in a path."""
SOON = 60
"""Timeout in seconds for a few requests on a busy machine."""


@dataclass
class Triggers:
    """A namespace with a GitLab and a trigger."""

    kubectl: Kubectl
    gitlab: Simulator
    token: str
    path: str = PROJECT_PATH
    pushes: Iterator[int] = field(default_factory=count)

    def apply(self, name: str = "clusters", **spec: Any) -> None:
        """Apply the example's trigger with the given changes to its spec; wait until it is ready."""
        self.kubectl.apply(self.build(name, **spec))
        self.kubectl.run("wait", f"buildtrigger/{name}", "--for=condition=Ready", f"--timeout={SOON}s", timeout=90)

    def build(self, name: str = "clusters", **spec: Any) -> Resource:
        """Return the example's trigger, for the simulator."""
        manifest: Resource = yaml.safe_load((ROOT / "examples" / "buildtrigger.yaml").read_text(encoding="utf-8"))
        manifest["metadata"]["name"] = name
        gitlab = {
            "url": build_url(self.kubectl.namespace),
            "project": PROJECT,
            "apiTokenSecret": {"name": "gitlab"},
            "webhookSecret": {"name": "webhook"},
        }
        manifest["spec"] |= {"gitlab": gitlab, **spec}
        return manifest

    def add_hook(self, name: str = "clusters", **hook: Any) -> None:
        """Have GitLab send pushes to a trigger."""
        url = f"http://bessemer.{SYSTEM_NAMESPACE}.svc:8080/v1/triggers/{self.kubectl.namespace}/{name}"
        events = ["push_events", "tag_push_events"]
        self.gitlab.add_hook(**{"project": PROJECT, "url": url, "token": "webhook-secret", "events": events} | hook)

    def push(self, branch: str, **files: str | None) -> str:
        """Push a commit that changes files of the folder clusters, by their names without .yaml; return its name.

        Its message is its own: two commits of the same second with all else the same are one.
        """
        message = f"Push {next(self.pushes)}"
        changed = {f"clusters/{name}.yaml": content for name, content in files.items()}
        return self.gitlab.add_commit(PROJECT, pushed_by="ada", branch=branch, message=message, files=changed)

    def status(self, name: str = "clusters") -> dict[str, Any]:
        """Return the status of a trigger."""
        found: dict[str, Any] = self.kubectl.get("buildtrigger", name).get("status", {})
        return found

    def wait_for_event(self, commit: str, *states: str, name: str = "clusters") -> dict[str, Any]:
        """Wait until the event of a commit is in one of the states; return it."""

        def find() -> dict[str, Any] | None:
            events: list[dict[str, Any]] = self.status(name).get("events", [])
            return next((event for event in events if event["commit"] == commit and event["state"] in states), None)

        found: dict[str, Any] = self.kubectl.wait_for(f"{commit[:8]} is {states}", find, SOON, self.explain)
        return found

    def statuses(self, commit: str) -> dict[str, str]:
        """Return the states of the statuses of a commit by their names."""
        path = f"{self.path}/repository/commits/{commit}/statuses?per_page=100"
        return {one["name"]: one["status"] for one in self.gitlab.ask(self.token, "GET", path)}

    def builds(self) -> dict[str, str]:
        """Return the commits of the ClusterBuilds by their names."""
        found = self.kubectl.items("clusterbuilds")
        return {one["metadata"]["name"]: one["metadata"]["annotations"]["bessemer.dev/commit"] for one in found}

    def explain(self) -> str:
        """Return a description of the current state, for a failing test."""
        system = Kubectl(self.kubectl.program, self.kubectl.kubeconfig, SYSTEM_NAMESPACE)
        deliveries = [(one["status"], one["error"]) for one in self.gitlab.deliveries()[-5:]]
        return "\n".join(
            [
                str(deliveries),
                self.kubectl.run("get", "bt,cb,configmaps", "-o", "wide"),
                self.kubectl.run("describe", "bt")[-6000:],
                system.run("logs", "deployment/bessemer", "--tail=60"),
            ]
        )


@contextmanager
def open_triggers(bessemer: Cluster, namespace: str = "triggers") -> Iterator[Triggers]:
    """Yield a namespace with a GitLab in it, where Bessemer is installed; it goes at the end."""
    kubectl = Kubectl(bessemer.kubectl, bessemer.kubeconfig, namespace)
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    kubectl.run("wait", "serviceaccount/default", "--for=create", "--timeout=30s")
    operator = Kubectl(bessemer.kubectl, bessemer.kubeconfig, SYSTEM_NAMESPACE).get("deployment", "bessemer")
    image = operator["spec"]["template"]["spec"]["containers"][0]["image"]
    gitlab = install_simulator(bessemer, namespace, image)
    tokens = gitlab.seed(
        projects=[{"path": PROJECT, "protected_branches": ["main", "release/*"], "protected_tags": ["release/*"]}],
        users=[{"username": "bot", "access": {PROJECT: 40}}, {"username": "ada", "access": {PROJECT: 40}}],
        tokens=[{"user": "bot", "name": "api", "scopes": ["api"]}],
    )
    for name, value in (("gitlab", tokens["api"]), ("webhook", "webhook-secret")):
        metadata = {"name": name, "annotations": {"bessemer.dev/for": build_url(namespace)}}
        kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": value}})
    yield Triggers(kubectl, gitlab, tokens["api"])
    kubectl.run("delete", "buildtrigger,clusterbuild", "--all", timeout=180)
    kubectl.run("delete", "namespace", namespace, timeout=180)
