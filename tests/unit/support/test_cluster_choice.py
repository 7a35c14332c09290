"""Which cluster the tests use, and which they refuse."""

from pathlib import Path

import pytest

from tests.support.cluster.choice import Provider, decide_provider, get_kube_minor
from tests.support.cluster.errors import ClusterError
from tests.support.cluster.existing import open_existing
from tests.support.cluster.marker import require_marker

BOTH = frozenset({Provider.KIND_DOCKER, Provider.KIND_PODMAN})


@pytest.mark.parametrize(
    ("environment", "engines", "provider"),
    [
        ({"BESSEMER_TEST_KUBECONFIG": "/k"}, BOTH, Provider.EXISTING),
        ({}, BOTH, Provider.KIND_DOCKER),
        ({}, frozenset({Provider.KIND_PODMAN}), Provider.KIND_PODMAN),
        ({}, frozenset(), Provider.LOCAL),
        ({"KUBECONFIG": "/production", "BESSEMER_TEST_KUBECONFIG": ""}, frozenset(), Provider.LOCAL),
    ],
)
def test_order_of_choice(environment: dict[str, str], engines: frozenset[Provider], provider: Provider) -> None:
    assert decide_provider(environment, engines) is provider


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
