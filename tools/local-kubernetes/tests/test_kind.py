"""Clusters of kind: how they are created, and that those of killed processes go. The program is a script."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from local_kubernetes.errors import ClusterError
from local_kubernetes.kind import Kind, KindRecord, create_kind, get_kind_directory, get_kind_record, sweep_locked
from local_kubernetes.local.processes import ProcessIdentity

DEAD = ProcessIdentity(pid=1, start_ticks=2**60)


@pytest.fixture
def kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kind:
    """kind and kubectl in one: a cluster is a file in `clusters`; with a file `broken`, none comes up or goes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "clusters").mkdir()
    get_kind_directory().mkdir(parents=True)
    program = tmp_path / "kind"
    program.write_text(
        f"#!/bin/sh\ncd {tmp_path}\n"
        'echo "$*" >>asked\n'
        'case "$1 $2" in\n'
        '"get clusters") ls clusters;;\n'
        '"create cluster") touch "clusters/$4"; [ ! -e broken ];;\n'
        '"delete cluster") [ ! -e stuck ] && rm -f "clusters/$4";;\n'
        "esac\n"
    )
    program.chmod(0o755)
    return Kind("docker", program, program)


def write_record(
    kind: Kind, name: str, creator: ProcessIdentity, *, kept: bool = False, engine: str = "docker"
) -> None:
    record = KindRecord(name=name, engine=engine, creator=creator, kept=kept)
    record.file.write_text(record.model_dump_json())
    (kind.program.parent / "clusters" / name).touch()


def test_kind_is_told_to_run_on_hosts_with_cgroup_v1(kind: Kind) -> None:
    create_kind("dev", kind, kube_minor="1.37", kept=True)
    asked = (kind.program.parent / "asked").read_text().splitlines()
    words = next(line.split() for line in asked if line.startswith("create cluster"))
    configuration = yaml.safe_load(Path(words[words.index("--config") + 1]).read_text())
    assert [yaml.safe_load(patch) for patch in configuration["kubeadmConfigPatches"]] == [
        {"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1", "failCgroupV1": False}
    ]


def test_kubectl_comes_from_the_node_where_the_machine_has_none(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = kind.program.parent
    docker = folder / "docker"
    docker.write_text(
        f'#!/bin/sh\ncd {folder}\necho "$*" >>said\n'
        f'case $1 in exec) echo /usr/bin/kube;; cp) cp {kind.program} "$3";; esac\n'
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    missing = replace(kind, kubectl=get_kind_directory() / "1.37" / "kubectl")
    create_kind("dev", missing, kube_minor="1.37", kept=True)
    assert "cp dev-control-plane:/usr/bin/kube " in (folder / "said").read_text()
    assert os.access(missing.kubectl, os.X_OK)


def test_a_cluster_that_is_removed_leaves_nothing(kind: Kind) -> None:
    cluster = create_kind("test-1", kind, kube_minor="1.37", kept=False)
    assert get_kind_record("test-1") is not None
    cluster.down()
    assert kind.list_clusters() == []
    assert [path.name for path in get_kind_directory().iterdir()] == ["lock"]


def test_a_cluster_that_does_not_come_up_leaves_nothing(kind: Kind) -> None:
    (kind.program.parent / "broken").touch()
    with pytest.raises(ClusterError, match="create cluster"):
        create_kind("test-1", kind, kube_minor="1.37", kept=False)
    assert kind.list_clusters() == []
    assert get_kind_record("test-1") is None


def test_clusters_of_killed_processes_are_swept_and_no_others(kind: Kind) -> None:
    own = ProcessIdentity.get(os.getpid())
    assert own is not None
    write_record(kind, "test-dead", DEAD)
    write_record(kind, "test-alive", own)
    write_record(kind, "dev", DEAD, kept=True)
    write_record(kind, "test-elsewhere", DEAD, engine="podman")
    (kind.program.parent / "clusters" / "a-users").touch()
    assert sweep_locked({"docker": kind}) == ["test-dead"]
    assert kind.list_clusters() == ["a-users", "dev", "test-alive", "test-elsewhere"]
    assert get_kind_record("test-dead") is None


def test_a_new_cluster_sweeps_first(kind: Kind) -> None:
    write_record(kind, "test-dead", DEAD)
    create_kind("test-2", kind, kube_minor="1.37", kept=False)
    assert kind.list_clusters() == ["test-2"]


def test_what_an_engine_does_not_remove_is_swept_the_next_time(kind: Kind) -> None:
    write_record(kind, "test-dead", DEAD)
    (kind.program.parent / "stuck").touch()
    assert sweep_locked({"docker": kind}) == []
    (kind.program.parent / "stuck").unlink()
    assert sweep_locked({"docker": kind}) == ["test-dead"]
