"""The pure parts of the local cluster: addresses, certificates, configuration, images, left-over loop devices."""

import io
import json
import os
import tarfile
import tomllib
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from local_kubernetes.errors import ClusterError
from local_kubernetes.local import registry
from local_kubernetes.local.config import build_files
from local_kubernetes.local.loop_devices import LoopDevice, decide_is_left_over
from local_kubernetes.local.namespaces import spawn_daemon
from local_kubernetes.local.network import INDEXES, ClusterNetwork, decide_index
from local_kubernetes.local.pki import build_authority, build_kubeconfig, build_leaf, build_server_names
from local_kubernetes.local.processes import ProcessIdentity
from local_kubernetes.local.remains import sweep_locked
from local_kubernetes.local.sandbox_image import create_sandbox_archive

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_no_two_clusters_share_an_address_or_a_name() -> None:
    clusters = [ClusterNetwork(index) for index in INDEXES]
    networks = [net for cluster in clusters for net in (cluster.link_network, cluster.services, cluster.pods)]
    assert not any(one.overlaps(other) for one in networks for other in networks if one is not other)
    assert (
        len({cluster.host_link for cluster in clusters})
        == len({cluster.cgroup for cluster in clusters})
        == len(clusters)
    )


def test_node_and_host_lie_on_their_link() -> None:
    network = ClusterNetwork(3)
    assert {network.host_address, network.node_address} == set(network.link_network.hosts())
    assert network.node_pods.subnet_of(network.pods)


def test_the_lowest_free_index_is_chosen() -> None:
    route = IPv4Network("10.92.7.0/24")
    assert decide_index(taken=[1], routes=[route], links=["kch3", "eth0"]) == 4


def test_machine_full_of_clusters_is_said() -> None:
    with pytest.raises(ClusterError, match="no index from 1 to 9 is free"):
        decide_index(taken=list(INDEXES), routes=[], links=[])


def test_server_certificate_names_every_way_to_the_api_server() -> None:
    network = ClusterNetwork(2)
    authority = build_authority(NOW)
    server = build_leaf(authority, "kube-apiserver", None, build_server_names(network), NOW)
    names = server.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.IPAddress)) == {
        IPv4Address("127.0.0.1"),
        IPv4Address("10.92.0.1"),
        IPv4Address("10.200.2.2"),
    }
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)
    server.certificate.verify_directly_issued_by(authority.certificate)


def test_client_certificate_carries_user_and_group() -> None:
    client = build_leaf(build_authority(NOW), "system:node:node1", "system:nodes", [], NOW)
    assert client.certificate.subject.rfc4514_string() == "CN=system:node:node1,O=system:nodes"


def test_kubeconfig_needs_no_other_file() -> None:
    authority = build_authority(NOW)
    user = build_leaf(authority, "admin", "system:masters", [], NOW)
    config = yaml.safe_load(build_kubeconfig("https://10.200.1.2:6443", "dev", authority, user))
    assert config["current-context"] == "dev"
    assert set(config["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_configuration_keeps_to_the_cluster() -> None:
    files = build_files(Path("/c"), ClusterNetwork(4), "four")
    kubelet = yaml.safe_load(files["kubelet.yaml"])
    containerd = tomllib.loads(files["containerd.toml"])
    proxy = yaml.safe_load(files["kube-proxy.yaml"])
    cni = json.loads(files["cni/10-bridge.conflist"])
    assert kubelet["cgroupRoot"] == "/kc4"
    assert kubelet["clusterDNS"] == ["10.200.4.2"]
    assert containerd["root"] == "/c/containerd"
    assert containerd["plugins"]["io.containerd.cri.v1.runtime"]["cni"]["conf_dir"] == "/c/cni"
    assert proxy["clusterCIDR"] == "10.124.0.0/16"
    assert cni["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.124.0.0/24"}]]
    assert "kubeconfig /c/admin.conf four" in files["Corefile"]


def test_sandbox_archive_names_an_image_whose_blobs_are_there(tmp_path: Path) -> None:
    create_sandbox_archive(tmp_path / "sandbox.tar", b"program", ["busybox", "sh", "ls"])
    with tarfile.open(tmp_path / "sandbox.tar") as archive:
        content = {name: file.read() for name in archive.getnames() if (file := archive.extractfile(name))}
    index = json.loads(content["index.json"])
    names = {entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]}
    assert names == {"localhost/pause:1", "localhost/busybox:1"}

    def blob(descriptor: dict[str, str]) -> bytes:
        return content["blobs/" + descriptor["digest"].replace(":", "/")]

    manifest = json.loads(blob(index["manifests"][0]))
    config = json.loads(blob(manifest["config"]))
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    with tarfile.open(fileobj=io.BytesIO(blob(manifest["layers"][0]))) as layer:
        assert layer.getmember("./bin/sh").linkname == "busybox"
        assert (layer.getmember("./bin/busybox").mode, layer.getmember("./tmp").mode) == (0o755, 0o1777)
        assert {(member.uid, member.gid) for member in layer.getmembers()} == {(0, 0)}


def build_loop_device(**changes: object) -> LoopDevice:
    facts = {
        "name": "/dev/loop0",
        "maj:min": "7:0",
        "back-maj:min": "8:1",
        "back-ino": 7,
        "autoclear": False,
        **changes,
    }
    return LoopDevice.model_validate(facts)


@pytest.mark.parametrize(
    ("changes", "left_over"),
    [
        pytest.param({"back-ino": 99}, True, id="its file is the cluster's"),
        pytest.param({"file_is_deleted": True}, True, id="its file was deleted"),
        pytest.param({"back-maj:min": "0:77"}, True, id="its file system is gone"),
        pytest.param({}, False, id="another user's file"),
        pytest.param({"back-ino": 99, "autoclear": True}, False, id="detaches by itself"),
        pytest.param({"name": "/dev/loop5", "file_is_deleted": True}, False, id="was there before"),
        pytest.param({"maj:min": "7:3", "file_is_deleted": True}, False, id="it is mounted"),
    ],
)
def test_loop_device_is_known_by_its_file(changes: dict[str, object], *, left_over: bool) -> None:
    device = build_loop_device(**changes)
    assert decide_is_left_over(device, files={("8:1", 99)}, mounted={"8:1", "7:3"}, earlier=["loop5"]) is left_over


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A simulated machine: settings, mount points and registry in a folder."""
    for name in registry.SYSCTLS:
        (tmp_path / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / name).write_text("0\n")
    (tmp_path / "registry").mkdir()
    monkeypatch.setattr(registry, "SYSCTL_ROOT", tmp_path / "sys")
    monkeypatch.setattr(registry, "MOUNT_POINTS", (tmp_path / "kubelet",))
    monkeypatch.setattr(registry, "REGISTRY", tmp_path / "registry")
    monkeypatch.setattr(registry, "require_root", lambda: None)
    return tmp_path


def build_record(name: str, creator: ProcessIdentity, **changes: bool) -> registry.ClusterRecord:
    facts = {"name": name, "index": 1, "directory": "/c", "kube_minor": "1.37", "kept": False, **changes}
    return registry.ClusterRecord.model_validate({**facts, "creator": creator})


def test_last_cluster_gives_the_machine_its_settings_back(machine: Path) -> None:
    creator = ProcessIdentity(pid=1, start_ticks=1)
    first, second = build_record("first", creator), build_record("second", creator)
    registry.apply_record(first)
    for name in registry.SYSCTLS:
        (machine / "sys" / name).write_text("10\n")
    registry.apply_record(second)
    registry.delete_record(first)
    assert (machine / "sys/kernel/panic").read_text() == "10\n"
    assert (machine / "kubelet").is_dir()
    registry.delete_record(second)
    assert {(machine / "sys" / name).read_text() for name in registry.KUBELET_SYSCTLS} == {"0"}
    assert not (machine / "kubelet").exists()
    assert list((machine / "registry").iterdir()) == []


@pytest.mark.parametrize("first_to_go", ["cluster", "engine"])
def test_a_setting_is_given_back_when_the_last_that_changes_it_goes(machine: Path, first_to_go: str) -> None:
    creator = ProcessIdentity(pid=1, start_ticks=1)
    cluster = build_record("test-1", creator)
    engine = registry.EngineRecord(name="docker-of-1", engine="docker", directory=machine / "e", creator=creator)
    registry.apply_record(cluster)
    (machine / "sys/kernel/panic").write_text("10\n")
    registry.apply_record(engine)
    assert (registry.list_records(), registry.list_engines()) == ([cluster], [engine])
    (machine / "sys/fs/file-max").write_text("99\n")  # as systemd in a node of kind does
    first, last = (cluster, engine) if first_to_go == "cluster" else (engine, cluster)
    registry.delete_record(first)
    settings = [(machine / "sys" / name).read_text().strip() for name in ("fs/file-max", "kernel/panic")]
    assert settings == (["99", "10"] if first is cluster else ["0", "10"])
    registry.delete_record(last)
    assert {(machine / "sys" / name).read_text().strip() for name in registry.SYSCTLS} == {"0"}
    assert list((machine / "registry").iterdir()) == []


def test_files_of_what_a_reboot_ended_are_swept_and_nothing_else(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine))
    own = ProcessIdentity.get(os.getpid())
    assert own is not None
    running = machine / "bessemer/engines/podman-of-7"
    for folder in ("clusters/dev", "engines/docker-of-6", "engines/podman-of-7", "engines/docker-0123456789ab"):
        (machine / "bessemer" / folder).mkdir(parents=True)
    registry.apply_record(registry.EngineRecord(name="podman-of-7", engine="podman", directory=running, creator=own))
    assert sweep_locked() == []
    left = sorted(str(path.relative_to(machine / "bessemer")) for path in machine.glob("bessemer/*/*"))
    assert left == ["engines/docker-0123456789ab", "engines/podman-of-7"]


def test_within_an_engines_namespaces_nothing_of_the_machine_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "ENGINE_MARK", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "bessemer/clusters/dev").mkdir(parents=True)
    with pytest.raises(ClusterError, match="within the namespaces of a container engine"):
        sweep_locked()
    assert (tmp_path / "bessemer/clusters/dev").is_dir()


def test_what_uses_a_machine_goes_though_it_is_lost_what_that_was_like(machine: Path) -> None:
    record = build_record("test-1", ProcessIdentity(pid=1, start_ticks=1))
    registry.apply_record(record)
    (machine / "registry/baseline.json").unlink()
    registry.delete_record(record)
    assert list((machine / "registry").iterdir()) == []


def test_a_daemon_gets_no_file_of_its_starter(tmp_path: Path) -> None:
    with (tmp_path / "locked").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        command = f"[ ! -e /proc/$$/fd/{held.fileno()} ] && echo none && readlink /proc/$$/fd/0"
        pid = spawn_daemon(["/bin/sh", "-c", command], {"PATH": "/usr/bin:/bin"}, tmp_path / "log")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (tmp_path / "log").read_text() == "none\n/dev/null\n"


def test_an_engine_is_swept_when_its_creator_is_gone() -> None:
    own = ProcessIdentity.get(os.getpid())
    assert own is not None
    facts = {"name": "docker-of-1", "engine": "docker", "directory": "/e"}
    dead = ProcessIdentity(pid=own.pid, start_ticks=own.start_ticks + 1)
    abandoned = [
        registry.EngineRecord.model_validate({**facts, "creator": creator}).is_abandoned() for creator in (own, dead)
    ]
    assert abandoned == [False, True]


@pytest.mark.parametrize(
    ("ready", "kept", "creator_runs", "node_runs", "abandoned"),
    [
        pytest.param(True, False, True, True, False, id="in use"),
        pytest.param(True, False, False, True, True, id="owner is gone"),
        pytest.param(True, True, False, True, False, id="kept for a developer"),
        pytest.param(True, True, False, False, True, id="kept, but dead"),
        pytest.param(False, True, True, False, False, id="being made"),
        pytest.param(False, True, False, False, True, id="its maker died"),
    ],
)
def test_when_a_cluster_is_abandoned(
    monkeypatch: pytest.MonkeyPatch,
    *,
    ready: bool,
    kept: bool,
    creator_runs: bool,
    node_runs: bool,
    abandoned: bool,
) -> None:
    creator = ProcessIdentity(pid=10, start_ticks=1)
    node = ProcessIdentity(pid=20, start_ticks=1)
    running = {creator: creator_runs, node: node_runs}
    monkeypatch.setattr(ProcessIdentity, "is_running", lambda process: running[process])
    monkeypatch.setattr(registry.ClusterRecord, "get_outer_process", lambda _: node if node_runs else None)
    assert build_record("any", creator, ready=ready, kept=kept).is_abandoned() is abandoned
