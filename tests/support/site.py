"""A site: a cluster with Bessemer installed by its charts, and a rack of machines in a namespace.

The demo, the end-to-end tests and the benchmarks all use it, so that they show the product as users install it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from local_kubernetes.binaries.tools import tool
from local_kubernetes.commands import run
from local_kubernetes.kubectl import Kubectl, Resource
from local_kubernetes.oci import Image
from local_kubernetes.protocol import Cluster
from rack.lab import Lab
from tests.support.checkout import ROOT
from tests.support.image import build_image

SYSTEM_NAMESPACE = "bessemer"
"""Where the operator runs."""
EXAMPLE = ROOT / "examples" / "oxygen.yaml"
INSTALL_SECONDS = 120
"""Seconds until Helm sees the operator ready: the image is already on the node."""
COLLECTION_SECONDS = 60
"""Seconds for Kubernetes to collect the objects of a deleted build; a pod may use its grace period."""
LOGIN_SECRET = "oxygen-ssh"
"""The Secret with the user's own key, as examples/oxygen.yaml names it."""


def install_bessemer(cluster: Cluster, values: Mapping[str, str] | None = None) -> Image:
    """Install the charts with Helm, as the README says, with an image built from this checkout."""
    image = build_image()
    cluster.load_image(image.archive)
    repository, _, tag = image.name.rpartition(":")
    settings = {"image.repository": repository, "image.tag": tag, "image.pullPolicy": "Never", **(values or {})}
    flags = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    run_helm(cluster, "upgrade", "--install", "bessemer-crds", str(ROOT / "helm" / "bessemer-crds"), "--wait")
    run_helm(cluster, "upgrade", "--install", "bessemer", str(ROOT / "helm" / "bessemer"), "--wait", *flags)
    return image


@contextmanager
def allow(cluster: Cluster, switch: str) -> Iterator[None]:
    """Let the chart allow something that it forbids by default, such as ``privileged``, until the block ends."""
    chart = ("upgrade", "bessemer", str(ROOT / "helm" / "bessemer"), "--reuse-values", "--wait")
    run_helm(cluster, *chart, "--set", f"policies.allow.{switch}=true")
    try:
        yield
    finally:
        run_helm(cluster, *chart, "--set", f"policies.allow.{switch}=false")


def uninstall_bessemer(cluster: Cluster) -> None:
    """Remove the charts; the CRDs last."""
    run_helm(cluster, "uninstall", "bessemer", "--wait", "--ignore-not-found")
    run_helm(cluster, "uninstall", "bessemer-crds", "--wait", "--ignore-not-found")


def run_helm(cluster: Cluster, *arguments: str, namespace: str = SYSTEM_NAMESPACE) -> str:
    """Run Helm on the cluster, in the operator's namespace, with separate folders for its files."""
    home = cluster.kubeconfig.parent / "helm"
    folders = {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    where = ["--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace]
    extra = ["--create-namespace"] if "--install" in arguments else []
    return run([tool("helm"), *arguments, *where, *extra], timeout=INSTALL_SECONDS, environment=folders)


@dataclass(frozen=True)
class Site:
    """A rack in a namespace, and the operator that builds clusters from it."""

    cluster: Cluster
    namespace: str
    lab: Lab

    @property
    def kubectl(self) -> Kubectl:
        """kubectl in the site's namespace."""
        return Kubectl(Path(self.cluster.kubectl), Path(self.cluster.kubeconfig), self.namespace)

    @property
    def system(self) -> Kubectl:
        """kubectl in the operator's namespace."""
        return Kubectl(Path(self.cluster.kubectl), Path(self.cluster.kubeconfig), SYSTEM_NAMESPACE)

    def build_manifest(self, name: str = "oxygen", **changes: Any) -> Resource:
        """Return examples/oxygen.yaml adapted to this rack (size, boot host's key), with changes to the spec.

        Changes are merged as JSON merge patches (RFC 7396); None removes a field.
        """
        manifest: Resource = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
        manifest["metadata"] |= {"name": name, "namespace": self.namespace}
        spec = manifest["spec"]
        spec["bootHost"]["ssh"]["hostKey"] = self.lab.boot_host_public_key
        spec["compute"] |= {"hosts": self.lab.hosts, "addresses": self.lab.addresses, "macs": list(self.lab.macs)}
        merge(spec, changes)
        return manifest

    def apply_login(self, name: str = LOGIN_SECRET) -> None:
        """Create the Secret with the key that the boot host accepts, as the site's administrator would."""
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/ssh-auth",
                "metadata": {"name": name},
                "stringData": {"ssh-privatekey": self.lab.client_private_key},
            }
        )

    def get_build(self, name: str = "oxygen") -> Resource:
        """Get a ClusterBuild."""
        return self.kubectl.get("clusterbuild", name)

    def wait_until_settled(
        self, name: str = "oxygen", seconds: float = 900, meanwhile: Callable[[], None] = lambda: None
    ) -> Resource:
        """Wait until a build is Ready or has given up for the current spec; call ``meanwhile`` repeatedly.

        Raises:
            TimeoutError: it did neither; the message describes its state.
        """

        def settled() -> Resource | None:
            meanwhile()
            build = self.get_build(name)
            return build if is_settled(build) else None

        found: Resource = self.kubectl.wait_for(f"{name} to settle", settled, seconds, lambda: self.explain(name))
        return found

    def wait_until_nothing_is_left(self, name: str = "oxygen") -> None:
        """Wait until a deleted build has left nothing in the cluster and nothing on the boot host.

        Raises:
            TimeoutError: something was left; the message lists it.
        """
        self.kubectl.wait_for(
            f"all that {name} had to be gone",
            lambda: not self._list_left(name),
            COLLECTION_SECONDS,
            lambda: str(self._list_left(name)),
        )

    def _list_left(self, name: str) -> list[str]:
        objects = [
            *self.kubectl.items("pods,configmaps,secrets", "--selector", f"bessemer.dev/build={name}"),
            *self.system.items("leases", "--selector", "app.kubernetes.io/managed-by=bessemer"),
        ]
        staged = self.lab.boot_host_exec(["ls", "/srv/http/boot"]).split()
        return [f"{found['kind']} {found['metadata']['name']}" for found in objects] + staged

    def explain(self, name: str = "oxygen") -> str:
        """Return a description of a build's state, for a test's failure message."""
        build = self.get_build(name)
        logs = self.kubectl.run("logs", "--selector", f"bessemer.dev/build={name}", "--tail", "25", "--prefix")
        return f"{json.dumps(build.get('status'), indent=1)[:6000]}\n{logs[-6000:]}"


def is_settled(build: Resource) -> bool:
    """Return whether a build is settled for its current spec: Ready, or no longer progressing."""
    status = build.get("status", {})
    conditions = {found["type"]: found["status"] for found in status.get("conditions", [])}
    current = status.get("observedGeneration") == build["metadata"]["generation"]
    return current and conditions.get("Progressing") == "False" and conditions.get("Ready") in {"True", "False"}


def condition(build: Resource, kind: str) -> Resource:
    """Return one condition of a build."""
    return next(c for c in build["status"]["conditions"] if c["type"] == kind)


def merge(target: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Apply changes to an object in place, as a JSON merge patch (RFC 7396)."""
    for key, value in changes.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = value
