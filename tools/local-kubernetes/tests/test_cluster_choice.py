"""Which cluster the tests use, and which they refuse."""

from pathlib import Path

import pytest

from local_kubernetes import choice
from local_kubernetes.choice import Provider, decide_provider, get_kube_minor, get_provider
from local_kubernetes.errors import ClusterError
from local_kubernetes.existing import open_existing
from local_kubernetes.marker import require_marker


@pytest.mark.parametrize(
    ("environment", "provider"),
    [
        ({}, None),
        ({"KUBECONFIG": "/production", "BESSEMER_TEST_KUBECONFIG": "", "PROVIDER": ""}, None),
        ({"PROVIDER": "local"}, Provider.LOCAL),
        ({"PROVIDER": "kind-docker"}, Provider.KIND_DOCKER),
        ({"PROVIDER": "kind-podman"}, Provider.KIND_PODMAN),
        ({"BESSEMER_TEST_KUBECONFIG": "/k", "PROVIDER": "kind-docker"}, Provider.EXISTING),
    ],
)
def test_what_the_user_names_is_used(environment: dict[str, str], provider: Provider | None) -> None:
    assert decide_provider(environment) is provider


@pytest.mark.parametrize("named", ["docker", "existing", "lxc"])
def test_a_provider_that_there_is_not_is_refused(named: str) -> None:
    with pytest.raises(ClusterError, match=f"PROVIDER={named}: must be one of kind-docker, kind-podman, local"):
        decide_provider({"PROVIDER": named})


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Docker, alone on the PATH, that notes what it is asked; commands in `refused` fail, those in `hangs` hang."""
    program = tmp_path / "docker"
    program.write_text(
        f'#!/bin/sh\ncd {tmp_path}\necho "$*" >>asked\n'
        'case " $(cat hangs 2>&-) " in *" $1 "*) exec /bin/sleep 60;; esac\n'
        'case " $(cat refused 2>&-) " in *" $1 "*) exit 1;; esac\n'.replace("$(cat", "$(/bin/cat")
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("BESSEMER_TEST_KUBECONFIG", "PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def list_asked(docker: Path) -> list[str]:
    return [line.split()[0] for line in (docker / "asked").read_text().splitlines()]


def test_where_docker_has_the_image_of_kinds_nodes_it_is_used(docker: Path) -> None:
    assert get_provider("1.37") is Provider.KIND_DOCKER
    assert list_asked(docker) == ["info", "image"]


def test_where_docker_can_pull_the_image_it_does(docker: Path) -> None:
    (docker / "refused").write_text("image")
    assert get_provider("1.37") is Provider.KIND_DOCKER
    assert (docker / "asked").read_text().splitlines()[-1] == "pull --quiet docker.io/kindest/node:v1.37.0"


@pytest.mark.parametrize(
    ("refused", "asked"),
    [
        ("info", ["info"]),
        ("image manifest", ["info", "image", "manifest"]),
        ("image pull", ["info", "image", "manifest", "pull"]),
    ],
)
@pytest.mark.parametrize("how", ["refused", "hangs"])
def test_a_docker_that_can_not_falls_back_to_a_local_cluster_in_time(
    docker: Path, monkeypatch: pytest.MonkeyPatch, how: str, refused: str, asked: list[str]
) -> None:
    first, _, last = refused.rpartition(" ")
    if how == "hangs":
        bound = {"info": "ENGINE_SECONDS", "manifest": "LOOK_SECONDS", "pull": "PULL_SECONDS"}[last]
        monkeypatch.setattr(choice, bound, 0.5)
    (docker / "refused").write_text(first)
    (docker / how).write_text(refused if how == "refused" else last)
    assert get_provider("1.37") is Provider.LOCAL
    assert list_asked(docker) == asked


def test_without_docker_the_cluster_is_local(docker: Path) -> None:
    (docker / "docker").unlink()
    assert get_provider("1.37") is Provider.LOCAL


def test_an_engine_that_is_named_must_answer(docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER", "kind-docker")
    (docker / "refused").write_text("image manifest")
    assert get_provider("1.37") is Provider.KIND_DOCKER
    monkeypatch.setenv("PROVIDER", "kind-podman")
    with pytest.raises(ClusterError, match="PROVIDER=kind-podman: podman doesn't answer"):
        get_provider("1.37")


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
