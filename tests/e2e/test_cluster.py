"""The local cluster itself: it runs pods, and leaves nothing of itself, whatever happens to those who use it."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local_kubernetes.binaries.components import KUBERNETES_RELEASES
from local_kubernetes.choice import get_kube_minor
from local_kubernetes.kubectl import Kubectl
from local_kubernetes.local.cluster import LocalCluster, down, get_programs, up
from local_kubernetes.local.processes import ProcessIdentity
from local_kubernetes.local.registry import get_record
from local_kubernetes.local.remains import sweep
from local_kubernetes.local.sandbox_image import BUSYBOX_IMAGE
from local_kubernetes.local.traces import (
    MachineState,
    get_cluster_parts,
    get_machine_state,
    list_descendants,
    list_namespaces,
)
from local_kubernetes.waiting import wait_until

pytestmark = pytest.mark.e2e

NAMES = "e2e-"
"""How the names of this module's clusters begin."""
SOON = 60
"""Seconds for a small pod, on a busy machine."""

# Attaches a loop device to a file on each kind of file system a container has, and mounts it; leaves all of it behind.
LOOP_DEVICES = """
set -eu
PATH=/bin
for folder in volume memory tmp; do
    busybox dd if=/dev/zero of=/$folder/disk bs=1M count=4 2>/dev/null
    busybox mke2fs -F /$folder/disk >/dev/null
    for try in 1 2 3 4 5 6 7 8 9; do  # another process may take the free one first
        device=$(busybox losetup -f)
        [ -b $device ] || mknod $device b 7 ${device#/dev/loop}
        busybox losetup $device /$folder/disk && break
    done
    mkdir -p /mnt/$folder
    mount -t ext4 $device /mnt/$folder
done
mkdir /volume/upper /volume/scratch /volume/root
mount -t overlay root -o lowerdir=/,upperdir=/volume/upper,workdir=/volume/scratch /volume/root
touch /volume/root/written
test -c /dev/fuse -a -c /dev/net/tun
touch /tmp/ready
sleep 3600
"""


@pytest.fixture
def before() -> Iterator[MachineState]:
    """The machine as it was; whatever the test does, it is as it was after it."""
    get_programs(get_kube_minor())  # a build changes nothing that is looked at, but takes minutes
    sweep()
    state = get_machine_state(NAMES)
    yield state
    wait_until("the machine is as it was", lambda: get_machine_state(NAMES).shows_nothing_beyond(state), 10)


@pytest.fixture
def make(before: MachineState) -> Iterator[Callable[[str], LocalCluster]]:
    """Makes clusters of this test; they go with it."""
    names: list[str] = []

    def make_cluster(name: str) -> LocalCluster:
        names.append(name)
        return up(name, kube_minor=get_kube_minor(), kept=False)

    yield make_cluster
    for name in names:
        down(name)


def connect(cluster: LocalCluster) -> Kubectl:
    return Kubectl(cluster.kubectl, cluster.kubeconfig, "default")


def build_pod(name: str, *command: str) -> dict[str, Any]:
    """Build a pod of the small image that every local cluster has."""
    container = {"name": "main", "image": BUSYBOX_IMAGE, "imagePullPolicy": "Never", "command": list(command)}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def wait(kubectl: Kubectl, pod: str, condition: str) -> None:
    kubectl.run("wait", f"pod/{pod}", f"--for={condition}", f"--timeout={SOON}s")


def run_pod(kubectl: Kubectl, name: str, *command: str) -> str:
    """Run a pod to its good end and return what it printed."""
    kubectl.apply(build_pod(name, *command))
    wait(kubectl, name, "jsonpath={.status.phase}=Succeeded")
    return kubectl.run("logs", name)


def test_cluster_runs_pods_and_leaves_nothing(before: MachineState, make: Callable[[str], LocalCluster]) -> None:
    machine_namespaces = list_namespaces()
    cluster = make("e2e-whole")
    kubectl = connect(cluster)
    found = run_pod(kubectl, "resolver", "nslookup", "kubernetes.default.svc.cluster.local")
    assert str(cluster.record.network.services[1]) in found
    version = kubectl.run("version")
    assert f"Server Version: v{KUBERNETES_RELEASES[get_kube_minor()]}" in version
    assert run_pod(kubectl, "refused", "sh", "-c", "nslookup example.com >/dev/null || echo unknown") == "unknown\n"
    kubectl.apply(build_pod("sleeper", "sleep", "3600"))
    wait(kubectl, "sleeper", "condition=Ready")
    parts = get_cluster_parts(cluster.name, machine_namespaces)
    assert len(parts.processes) > 10
    assert not get_machine_state(NAMES).shows_nothing_beyond(before)

    cluster.down()

    assert parts.list_alive() == []
    assert get_machine_state(NAMES).shows_nothing_beyond(before)


def test_machine_reaches_pods_through_services(make: Callable[[str], LocalCluster]) -> None:
    cluster = make("e2e-service")
    kubectl = connect(cluster)
    server = build_pod("web", "sh", "-c", "echo hello >/tmp/index.html; exec httpd -f -p 8080 -h /tmp")
    server["metadata"]["labels"] = {"app": "web"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    kubectl.apply(server, service)
    wait(kubectl, "web", "condition=Ready")
    address = kubectl.get("service", "web")["spec"]["clusterIP"]

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://{address}/index.html", timeout=2) as answer:
                return bool(answer.read() == b"hello\n")
        except OSError:
            return False

    wait_until("the service answers the machine", answers, SOON)
    assert run_pod(kubectl, "client", "wget", "-q", "-O", "-", "http://web.default.svc.cluster.local") == "hello\n"


def test_up_again_finds_the_same_cluster(make: Callable[[str], LocalCluster]) -> None:
    first = make("e2e-again")
    connect(first).run("create", "configmap", "kept")
    second = make("e2e-again")
    assert second.record == first.record
    connect(second).get("configmap", "kept")


def test_up_recreates_a_broken_cluster(make: Callable[[str], LocalCluster]) -> None:
    cluster = make("e2e-broken")
    connect(cluster).run("create", "configmap", "lost")
    (server,) = (
        process for process in list_descendants(cluster.get_node()) if get_program(process) == "kube-apiserver"
    )
    server.kill()
    again = make("e2e-broken")
    assert connect(again).run("get", "configmap", "lost", "--ignore-not-found") == ""


def get_program(process: ProcessIdentity) -> str:
    return Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[0].decode()


def test_two_clusters_stand_side_by_side(make: Callable[[str], LocalCluster]) -> None:
    one, other = make("e2e-one"), make("e2e-other")
    for cluster in (one, other):
        connect(cluster).run("create", "namespace", cluster.name)
        address = run_pod(connect(cluster), "address", "sh", "-c", "ip -4 -o address show eth0")
        assert f"inet {str(cluster.record.network.node_pods).removesuffix('.0/24')}." in address
    assert connect(one).run("get", "namespace", other.name, "--ignore-not-found") == ""
    one.down()
    run_pod(connect(other), "still-works", "true")


def test_privileged_pod_mounts_disks_and_leaves_none_attached(
    before: MachineState, make: Callable[[str], LocalCluster]
) -> None:
    cluster = make("e2e-disks")
    kubectl = connect(cluster)
    volumes = [{"name": "volume", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}}]
    for name in ("deleted-before", "running-still"):
        pod = build_pod(name, "sh", "-c", LOOP_DEVICES)
        pod["spec"]["volumes"] = volumes
        pod["spec"]["containers"][0] |= {
            "securityContext": {"privileged": True},
            "volumeMounts": [{"name": "volume", "mountPath": "/volume"}, {"name": "memory", "mountPath": "/memory"}],
            "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1},
        }
        kubectl.apply(pod)
        wait(kubectl, name, "condition=Ready")
    assert len(get_machine_state(NAMES).loop_devices - before.loop_devices) == 6
    kubectl.run("delete", "pod", "deleted-before")
    cluster.down()
    assert get_machine_state(NAMES).loop_devices <= before.loop_devices


OWNER = """
import signal, sys, time
from local_kubernetes.choice import get_kube_minor
from local_kubernetes.local.cluster import up
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started the tests in the background
up(sys.argv[1], kube_minor=get_kube_minor(), kept=False)
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def start_owner(before: MachineState) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a process that makes a cluster and waits, as a test run does."""
    owners: list[subprocess.Popen[str]] = []

    def start(name: str) -> subprocess.Popen[str]:
        owner = subprocess.Popen([sys.executable, "-c", OWNER, name], stdout=subprocess.PIPE, text=True)
        owners.append(owner)
        return owner

    yield start
    for owner in owners:
        owner.kill()
        owner.communicate()
    sweep()


def wait_for_namespaces(name: str) -> None:
    def has_started() -> bool:
        record = get_record(name)
        outer = record.get_outer_process() if record else None
        return outer is not None and outer.get_first_child() is not None

    wait_until(f"cluster {name} starts", has_started, SOON)


def test_cluster_of_a_killed_test_run_is_swept(
    before: MachineState, start_owner: Callable[[str], subprocess.Popen[str]]
) -> None:
    machine_namespaces = list_namespaces()
    owner = start_owner("e2e-orphan")
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"
    parts = get_cluster_parts("e2e-orphan", machine_namespaces)
    assert "e2e-orphan" not in sweep()  # its owner lives

    owner.kill()
    owner.wait()

    assert sweep() == ["e2e-orphan"]
    assert parts.list_alive() == []
    assert get_machine_state(NAMES).shows_nothing_beyond(before)


def test_half_made_cluster_of_a_killed_test_run_is_swept(
    before: MachineState, start_owner: Callable[[str], subprocess.Popen[str]]
) -> None:
    machine_namespaces = list_namespaces()
    owner = start_owner("e2e-half")
    wait_for_namespaces("e2e-half")
    parts = get_cluster_parts("e2e-half", machine_namespaces)
    owner.kill()
    owner.wait()
    assert sweep() == ["e2e-half"]
    assert parts.list_alive() == []
    assert get_machine_state(NAMES).shows_nothing_beyond(before)


def test_interrupt_while_a_cluster_is_made_leaves_nothing(
    before: MachineState, start_owner: Callable[[str], subprocess.Popen[str]]
) -> None:
    owner = start_owner("e2e-interrupted")
    wait_for_namespaces("e2e-interrupted")
    owner.send_signal(signal.SIGINT)
    wait_until("the interrupted process ends", lambda: owner.poll() is not None, SOON)
    assert get_record("e2e-interrupted") is None
    assert get_machine_state(NAMES).shows_nothing_beyond(before)


def test_dead_cluster_is_swept(before: MachineState, make: Callable[[str], LocalCluster]) -> None:
    cluster = make("e2e-dead")
    os.kill(cluster.get_node().pid, signal.SIGKILL)
    wait_until("the cluster is dead", lambda: cluster.record.get_outer_process() is None, SOON)
    assert sweep() == ["e2e-dead"]
    assert get_machine_state(NAMES).shows_nothing_beyond(before)
