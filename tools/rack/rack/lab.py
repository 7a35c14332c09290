"""The lab in a cluster, as tests and people use it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from local_kubernetes.binaries.tools import tool
from local_kubernetes.commands import run
from local_kubernetes.kubectl import Kubectl
from local_kubernetes.protocol import Cluster
from rack.daemon.settings import BOOT_HOST, MOST_COMPUTE_NODES, cluster_mac
from rack.image.build import build_image
from rack.keys import create_key_pair

CHART = Path(__file__).parent / "chart"
RELEASE = "rack"
KEYS_SECRET = "rack-keys"
"""The boot host's side of the keys; the pod mounts it."""
CLIENT_SECRET = "rack-client"
"""The client's side of the keys; the pod doesn't get it."""
READY_SECONDS = 180
"""For the pod to be ready: 5 s when the image is on the node and the machine is idle."""
DELETE_SECONDS = 60


@dataclass(frozen=True)
class Lab:
    """A rack in a namespace of a cluster."""

    cluster: Cluster
    namespace: str
    compute_nodes: int
    cluster_name: str = "oxygen"
    nodes_per_rack: int = 0

    @classmethod
    def install(cls, cluster: Cluster, namespace: str, compute_nodes: int = 4, **options: object) -> Lab:
        """Put up a rack with all machines off, and wait until it is ready.

        Args:
            cluster: where.
            namespace: made if missing; one rack fits in.
            compute_nodes: from 0 to 64.
            options: further values of the chart, dots in their names as two underscores (`management__installed=True`).

        """
        if not 0 <= compute_nodes <= MOST_COMPUTE_NODES:
            raise ValueError(f"compute_nodes must be from 0 to {MOST_COMPUTE_NODES}, not {compute_nodes}")
        image = build_image()
        cluster.load_image(image.archive)
        per_rack = int(str(options.get("nodesPerRack", 0)))
        if per_rack and compute_nodes % per_rack:
            raise ValueError(f"{compute_nodes} compute nodes don't fill racks of {per_rack}")
        lab = cls(cluster, namespace, compute_nodes, str(options.get("clusterName", "oxygen")), per_rack)
        lab.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        lab._create_secrets()
        values = {"image": image.name, "computeNodes": compute_nodes}
        values |= {
            name.replace("__", "."): json.dumps(value) if isinstance(value, bool) else value
            for name, value in options.items()
        }
        flags = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
        lab._run_helm("upgrade", "--install", RELEASE, str(CHART), "--wait", f"--timeout={READY_SECONDS}s", *flags)
        return lab

    @classmethod
    def find(cls, cluster: Cluster, namespace: str) -> Lab:
        """Return the rack that was installed into a namespace."""
        kubectl = Kubectl(cluster.kubectl, cluster.kubeconfig, namespace)
        settings = json.loads(kubectl.get("configmap", RELEASE)["data"]["rack.json"])
        return cls(cluster, namespace, settings["computeNodes"], settings["clusterName"], settings["nodesPerRack"])

    def delete(self) -> None:
        """Remove the rack and its keys; whatever ran in it is gone with its pod."""
        self._run_helm("uninstall", RELEASE, "--wait", "--ignore-not-found")
        self.kubectl.run("delete", "secret", KEYS_SECRET, CLIENT_SECRET, "--ignore-not-found")
        self.kubectl.run(
            "wait",
            "pod",
            "--selector",
            "app.kubernetes.io/name=rack",
            "--for=delete",
            f"--timeout={DELETE_SECONDS}s",
            timeout=DELETE_SECONDS + 5,
        )

    @property
    def kubectl(self) -> Kubectl:
        """kubectl in the lab's namespace."""
        return Kubectl(self.cluster.kubectl, self.cluster.kubeconfig, self.namespace)

    @property
    def service(self) -> str:
        """DNS name of the rack's Service; its ports are in `rack.ports`."""
        return f"{RELEASE}.{self.namespace}.svc"

    @property
    def hosts(self) -> str:
        """The compute nodes as a hostlist."""
        if self.nodes_per_rack:
            return f"r[1-{self.compute_nodes // self.nodes_per_rack}]n[1-{self.nodes_per_rack}]"
        return fold(self.cluster_name, self.compute_nodes)

    @property
    def addresses(self) -> str:
        """The compute nodes' addresses as a hostlist, in the order of `hosts`."""
        return fold("10.141.0.", self.compute_nodes)

    @property
    def macs(self) -> list[str]:
        """The compute nodes' hardware addresses, in the order of `hosts`."""
        return [cluster_mac(number) for number in range(2, self.compute_nodes + 2)]

    @cached_property
    def boot_host_public_key(self) -> str:
        """The boot host's SSH host key, also the management machine's if that starts installed."""
        return self._read_secret("host_key.pub")

    @cached_property
    def client_private_key(self) -> str:
        """The key that logs in to the boot host as root."""
        return self._read_secret("ssh-privatekey")

    def fault(self, machine: str, fault: str, times: int | None = None) -> None:
        """Switch a fault on (see `rack.faults.Fault`), for so many times or as often as is usual for it."""
        count = [] if times is None else ["--times", str(times)]
        self._rackctl("fault", machine, fault, *count)

    def repair(self, machine: str, fault: str = "all") -> None:
        """Switch a fault off."""
        self._rackctl("fault", machine, fault, "--off")

    def state(self) -> dict[str, dict[str, Any]]:
        """Tell every machine's power, stage, number of boots, boot source and faults."""
        found: dict[str, dict[str, Any]] = json.loads(self._rackctl("state"))
        return found

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """List what happened since a sequence number: power actions, boots, mishaps."""
        found: list[dict[str, Any]] = json.loads(self._rackctl("events", "--since", str(since)))
        return found

    def console(self, machine: str, lines: int = 200) -> str:
        """Return the end of a machine's console."""
        return self._rackctl("console", machine, "--lines", str(lines))

    def power(self, verb: str, machine: str) -> None:
        """Press a machine's button: on, off or cycle."""
        self._rackctl("power", verb, machine)

    def wipe(self, machine: str) -> None:
        """Put an empty disk into a machine that is off."""
        self._rackctl("wipe", machine)

    def exec(self, machine: str, argv: Sequence[str]) -> str:
        """Run a program inside a running machine; return what it prints."""
        return self._rackctl("exec", machine, "--", *argv)

    def boot_host_exec(self, argv: Sequence[str]) -> str:
        """Run a program on the boot host; return what it prints."""
        return self.exec(BOOT_HOST, argv)

    def _rackctl(self, *arguments: str) -> str:
        return self.kubectl.run("exec", f"deployment/{RELEASE}", "--", "rackctl", *arguments)

    def _read_secret(self, key: str) -> str:
        return base64.b64decode(self.kubectl.get("secret", CLIENT_SECRET)["data"][key]).decode()

    def _create_secrets(self) -> None:
        """Make the keys, unless an earlier install did."""
        if self.kubectl.find("secret", CLIENT_SECRET):
            return
        host, client = create_key_pair(), create_key_pair()
        self.kubectl.apply(
            build_secret(KEYS_SECRET, {"ssh_host_ed25519_key": host.private, "authorized_keys": client.public + "\n"}),
            build_secret(CLIENT_SECRET, {"ssh-privatekey": client.private, "host_key.pub": host.public}),
        )

    def _run_helm(self, *arguments: str) -> str:
        home = self.cluster.kubeconfig.parent / "helm"
        folders = {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        where = ["--kubeconfig", str(self.cluster.kubeconfig), "--namespace", self.namespace]
        return run([tool("helm"), *arguments, *where], timeout=READY_SECONDS + 10, environment=folders)


def fold(prefix: str, compute_nodes: int) -> str:
    """Write the names of the compute nodes, which number from 2, as a hostlist."""
    return f"{prefix}2" if compute_nodes == 1 else f"{prefix}[2-{compute_nodes + 1}]"


def build_secret(name: str, values: dict[str, str]) -> dict[str, Any]:
    """Make a Secret's manifest."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
