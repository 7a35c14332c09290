"""Which kind of cluster it is to be."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from local_kubernetes.binaries.components import DEFAULT_KUBERNETES, KUBERNETES_RELEASES
from local_kubernetes.binaries.tools import tool
from local_kubernetes.errors import ClusterError
from local_kubernetes.existing import ExistingCluster, open_existing
from local_kubernetes.kind import Kind, create_kind, get_kind
from local_kubernetes.local import cluster as local
from local_kubernetes.local.registry import get_record
from local_kubernetes.protocol import Cluster

KUBECONFIG = "BESSEMER_TEST_KUBECONFIG"
CONSENT = "BESSEMER_TEST_KUBECONFIG_YES"
ENGINE = "BESSEMER_TEST_KIND"
"""Names the container engine on which kind makes the cluster: docker or podman."""
ENGINE_SECONDS = 10


class Provider(Enum):
    """Where a cluster comes from."""

    EXISTING = "existing"
    KIND_DOCKER = "docker"
    KIND_PODMAN = "podman"
    LOCAL = "local"


ENGINES = (Provider.KIND_DOCKER.value, Provider.KIND_PODMAN.value)


def decide_provider(environment: Mapping[str, str]) -> Provider:
    """Choose: the cluster that the user names, kind on the engine that the user names, else a local cluster.

    kind is never chosen by itself, however many engines answer, since it has not been run yet. Raises ClusterError for
    an engine that kind doesn't know.
    """
    if environment.get(KUBECONFIG):
        return Provider.EXISTING
    engine = environment.get(ENGINE)
    if not engine:
        return Provider.LOCAL
    if engine not in ENGINES:
        raise ClusterError(f"{ENGINE}={engine}: must be one of {', '.join(ENGINES)}")
    return Provider(engine)


def get_kube_minor() -> str:
    """Give the Kubernetes release that `KUBE` asks for. Raises ClusterError for one that we do not have."""
    minor = os.environ.get("KUBE") or DEFAULT_KUBERNETES
    if minor not in KUBERNETES_RELEASES:
        raise ClusterError(f"KUBE={minor}: not a release we have; one of {', '.join(KUBERNETES_RELEASES)}")
    return minor


def get_provider() -> Provider:
    """Choose by this process' environment. Raises ClusterError where the engine that is asked for doesn't answer."""
    provider = decide_provider(os.environ)
    if provider.value in ENGINES and not engine_answers(provider.value):
        raise ClusterError(f"{ENGINE}={provider.value}: {provider.value} doesn't answer")
    return provider


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
