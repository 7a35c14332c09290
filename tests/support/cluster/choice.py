"""Which kind of cluster it is to be."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from tests.support.cluster.binaries.components import DEFAULT_KUBERNETES, KUBERNETES_RELEASES
from tests.support.cluster.binaries.tools import tool
from tests.support.cluster.errors import ClusterError
from tests.support.cluster.existing import ExistingCluster, open_existing
from tests.support.cluster.kind import Kind, create_kind, get_kind
from tests.support.cluster.local import cluster as local
from tests.support.cluster.local.registry import get_record
from tests.support.cluster.protocol import Cluster

KUBECONFIG = "BESSEMER_TEST_KUBECONFIG"
CONSENT = "BESSEMER_TEST_KUBECONFIG_YES"
ENGINE_SECONDS = 10


class Provider(Enum):
    """Where a cluster comes from."""

    EXISTING = "existing"
    KIND_DOCKER = "docker"
    KIND_PODMAN = "podman"
    LOCAL = "local"


def decide_provider(environment: Mapping[str, str], engines: frozenset[Provider]) -> Provider:
    """Choose: what the user names, else kind where an engine answers, else a local cluster.

    `engines` holds those of KIND_DOCKER and KIND_PODMAN that answer.
    """
    if environment.get(KUBECONFIG):
        return Provider.EXISTING
    for engine in (Provider.KIND_DOCKER, Provider.KIND_PODMAN):
        if engine in engines:
            return engine
    return Provider.LOCAL


def get_kube_minor() -> str:
    """Give the Kubernetes release that `KUBE` asks for. Raises ClusterError for one that we do not have."""
    minor = os.environ.get("KUBE") or DEFAULT_KUBERNETES
    if minor not in KUBERNETES_RELEASES:
        raise ClusterError(f"KUBE={minor}: not a release we have; one of {', '.join(KUBERNETES_RELEASES)}")
    return minor


def get_provider() -> Provider:
    """Look at this machine and choose."""
    engines = (Provider.KIND_DOCKER, Provider.KIND_PODMAN)
    return decide_provider(os.environ, frozenset(engine for engine in engines if engine_answers(engine.value)))


def engine_answers(engine: str) -> bool:
    """Say whether a container engine is there and answers."""
    if shutil.which(engine) is None:
        return False
    try:
        asked = subprocess.run([engine, "info"], capture_output=True, timeout=ENGINE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def open_cluster(name: str, *, kept: bool) -> Cluster:
    """Give a running cluster of that name, made when needed. A kept one outlives this process."""
    provider = get_provider()
    minor = get_kube_minor()
    if provider is Provider.EXISTING:
        return get_named_by_user()
    if provider is Provider.LOCAL:
        return local.up(name, kube_minor=minor, kept=kept)
    return create_kind(name, build_kind(provider, minor), kube_minor=minor)


def get_cluster(name: str) -> Cluster:
    """Find a running cluster by name. Raises ClusterError when there is none."""
    provider = get_provider()
    minor = get_kube_minor()
    if provider is Provider.EXISTING:
        return get_named_by_user()
    if provider is Provider.LOCAL:
        record = get_record(name)
        if record is None:
            raise ClusterError(f"there is no cluster {name}; make one with: make cluster-up")
        return local.LocalCluster(record, local.get_programs(record.kube_minor))
    return get_kind(name, build_kind(provider, minor))


def build_kind(provider: Provider, kube_minor: str) -> Kind:
    """Find or build what runs kind on an engine."""
    return Kind(provider.value, program=tool("kind", kube_minor), kubectl=tool("kubectl", kube_minor))


def get_named_by_user() -> ExistingCluster:
    """Open the cluster that the user named, if they said yes to it."""
    kubectl = tool("kubectl", get_kube_minor())
    return open_existing(Path(os.environ[KUBECONFIG]), os.environ.get(CONSENT), kubectl)
