"""kubectl for tests: bound to one cluster, with deadlines, speaking JSON."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.cluster.commands import run


@dataclass(frozen=True)
class Kubectl:
    """Commands to one cluster."""

    program: Path
    kubeconfig: Path

    def run(self, *words: str, timeout: float = 60) -> str:
        """Run kubectl and return its output. Raises ClusterError when it fails or takes over `timeout` seconds."""
        return run([self.program, "--kubeconfig", self.kubeconfig, *words], timeout=timeout)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply manifests."""
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"apiVersion": "v1", "kind": "List", "items": objects}, file)
            file.flush()
            self.run("apply", "--filename", file.name)

    def get(self, *words: str) -> dict[str, Any]:
        """Return an object, or a list of them, as the API gives it."""
        found: dict[str, Any] = json.loads(self.run("get", *words, "--output", "json"))
        return found

    def wait(self, *words: str, seconds: int) -> None:
        """Run `kubectl wait`. Raises ClusterError when what is waited for has not come after `seconds`."""
        self.run("wait", *words, f"--timeout={seconds}s", timeout=seconds + 10)


def build_pod(name: str, namespace: str, command: Sequence[str], **spec: object) -> dict[str, Any]:
    """Build a pod of one container with the busybox image that every local cluster has."""
    container = {
        "name": "main",
        "image": "localhost/busybox:1",
        "imagePullPolicy": "Never",
        "command": list(command),
    }
    metadata = {"name": name, "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }
