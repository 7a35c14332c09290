"""Which cluster the tests use, and which they refuse."""

from pathlib import Path

import pytest
import yaml

from local_kubernetes.choice import Provider, decide_provider, get_kube_minor, get_provider
from local_kubernetes.errors import ClusterError
from local_kubernetes.existing import open_existing
from local_kubernetes.kind import Kind, create_kind
from local_kubernetes.marker import require_marker


@pytest.mark.parametrize(
    ("environment", "provider"),
    [
        ({}, Provider.LOCAL),
        ({"KUBECONFIG": "/production", "BESSEMER_TEST_KUBECONFIG": "", "BESSEMER_TEST_KIND": ""}, Provider.LOCAL),
        ({"BESSEMER_TEST_KIND": "docker"}, Provider.KIND_DOCKER),
        ({"BESSEMER_TEST_KIND": "podman"}, Provider.KIND_PODMAN),
        ({"BESSEMER_TEST_KUBECONFIG": "/k", "BESSEMER_TEST_KIND": "docker"}, Provider.EXISTING),
    ],
)
def test_a_cluster_is_local_unless_the_user_names_another(environment: dict[str, str], provider: Provider) -> None:
    assert decide_provider(environment) is provider


def test_an_engine_that_answers_is_not_used_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("BESSEMER_TEST_KUBECONFIG", "BESSEMER_TEST_KIND"):
        monkeypatch.delenv(name, raising=False)
    assert get_provider() is Provider.LOCAL
    monkeypatch.setenv("BESSEMER_TEST_KIND", "docker")
    assert get_provider() is Provider.KIND_DOCKER
    monkeypatch.setenv("BESSEMER_TEST_KIND", "podman")
    with pytest.raises(ClusterError, match="podman doesn't answer"):
        get_provider()


def test_an_engine_that_kind_does_not_know_is_refused() -> None:
    with pytest.raises(ClusterError, match="BESSEMER_TEST_KIND=lxc: must be one of docker, podman"):
        decide_provider({"BESSEMER_TEST_KIND": "lxc"})


def test_kind_is_told_to_run_on_hosts_with_cgroup_v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = tmp_path / "said"
    program = tmp_path / "kind"
    program.write_text(f'#!/bin/sh\necho "$@" >>{said}\n')
    program.chmod(0o755)
    create_kind("dev", Kind("docker", program, program), kube_minor="1.37")
    words = next(line.split() for line in said.read_text().splitlines() if line.startswith("create cluster"))
    configuration = yaml.safe_load(Path(words[words.index("--config") + 1]).read_text())
    patches = [yaml.safe_load(patch) for patch in configuration["kubeadmConfigPatches"]]
    assert {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "failCgroupV1": False,
    } in patches


def test_unknown_release_is_refused_with_those_we_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBE", "1.12")
    with pytest.raises(ClusterError, match=r"KUBE=1\.12.*1\.37, 1\.34"):
        get_kube_minor()


@pytest.fixture
def kubectl(tmp_path: Path) -> Path:
    """Knows a context, and no ConfigMap: as kubectl does at a cluster that is not ours."""
    program = tmp_path / "kubectl"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *current-context*) echo production;; *) echo NotFound >&2; exit 1;; esac\n'
    )
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("consent", [None, "yes", "prod"])
def test_cluster_named_by_the_user_needs_its_own_name_as_consent(
    tmp_path: Path, kubectl: Path, consent: str | None
) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.touch()
    with pytest.raises(ClusterError, match="BESSEMER_TEST_KUBECONFIG_YES=production"):
        open_existing(kubeconfig, consent, kubectl)


def test_missing_kubeconfig_is_named(tmp_path: Path, kubectl: Path) -> None:
    with pytest.raises(ClusterError, match=r"BESSEMER_TEST_KUBECONFIG: .*absent is no file"):
        open_existing(tmp_path / "absent", "production", kubectl)


def test_cluster_without_our_mark_is_refused(tmp_path: Path, kubectl: Path) -> None:
    with pytest.raises(ClusterError, match="not made for Bessemer's tests"):
        require_marker(kubectl, tmp_path / "config")
