"""Which kind of cluster is used."""

import os
import shutil
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from local_kubernetes.binaries.components import DEFAULT_KUBERNETES, KUBERNETES_RELEASES
from local_kubernetes.binaries.tools import find_tool, tool
from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError, announce
from local_kubernetes.existing import ExistingCluster, open_existing
from local_kubernetes.kind import (
    NODE_IMAGES,
    Kind,
    create_kind,
    get_kind,
    get_kind_directory,
    get_kind_record,
    list_kind_records,
)
from local_kubernetes.kind import sweep_locked as sweep_kind_locked
from local_kubernetes.local import cluster as local
from local_kubernetes.local.registry import get_record
from local_kubernetes.protocol import Cluster
from local_kubernetes.storage import locked

KUBECONFIG = "BESSEMER_TEST_KUBECONFIG"
CONSENT = "BESSEMER_TEST_KUBECONFIG_YES"
PROVIDER = "PROVIDER"
"""Names what makes the cluster, see `Provider`."""
ENGINE_SECONDS = 10
"""Timeout for an answer of an engine."""
LOOK_SECONDS = 20
"""Timeout for a registry to report whether it has an image."""
PULL_SECONDS = 600
"""Timeout for a pull of 400 MB over a slow connection."""


class Provider(Enum):
    """What makes a cluster."""

    EXISTING = "existing"
    KIND_DOCKER = "kind-docker"
    KIND_PODMAN = "kind-podman"
    LOCAL = "local"

    @property
    def engine(self) -> str | None:
        """The container engine, `docker` or `podman`, on which kind makes it."""
        return self.value.removeprefix("kind-") if self.value.startswith("kind-") else None


NAMED = tuple(provider.value for provider in Provider if provider is not Provider.EXISTING)


def decide_provider(environment: Mapping[str, str]) -> Provider | None:
    """Choose by variables: the cluster that the user names, or the provider; None where they name neither.

    Raises ClusterError for a provider that there is not.
    """
    if environment.get(KUBECONFIG):
        return Provider.EXISTING
    named = environment.get(PROVIDER)
    if not named:
        return None
    if named not in NAMED:
        raise ClusterError(f"{PROVIDER}={named}: must be one of {', '.join(NAMED)}")
    return Provider(named)


def get_kube_minor() -> str:
    """Return the Kubernetes release that `KUBE` requests. Raises ClusterError for one that we do not have."""
    minor = os.environ.get("KUBE") or DEFAULT_KUBERNETES
    if minor not in KUBERNETES_RELEASES:
        raise ClusterError(f"KUBE={minor}: not a release we have; one of {', '.join(KUBERNETES_RELEASES)}")
    return minor


def get_provider(kube_minor: str) -> Provider:
    """Choose by this process' environment, and where that names nothing, by what is there.

    That is kind where Docker has or can pull the image of kind's nodes, since this takes a minute, and building
    Kubernetes many; else a local cluster. Raises ClusterError where the engine that is named doesn't answer.
    """
    provider = decide_provider(os.environ)
    if provider is None:
        pulled = engine_answers("docker") and has_image("docker", NODE_IMAGES[kube_minor])
        return Provider.KIND_DOCKER if pulled else Provider.LOCAL
    if provider.engine and not engine_answers(provider.engine):
        raise ClusterError(f"{PROVIDER}={provider.value}: {provider.engine} doesn't answer")
    return provider


def engine_answers(engine: str) -> bool:
    """Return whether a container engine is there and answers."""
    return shutil.which(engine) is not None and succeeds([engine, "info"], ENGINE_SECONDS)


def has_image(engine: str, image: str) -> bool:
    """Return whether an engine has an image; if not, it is pulled if its registry offers it."""
    if succeeds([engine, "image", "inspect", image], ENGINE_SECONDS):
        return True
    if not succeeds([engine, "manifest", "inspect", image], LOOK_SECONDS):  # a pull retries for minutes
        announce(f"{engine} can't pull {image}: doing without it")
        return False
    announce(f"pulling {image}")
    return succeeds([engine, "pull", "--quiet", image], PULL_SECONDS)


def succeeds(argv: list[str], seconds: float) -> bool:
    """Return whether a program is there and ends with code 0 in time."""
    try:
        run(argv, timeout=seconds, environment={"DOCKER_CLI_EXPERIMENTAL": "enabled"})  # `manifest`, before 20.10
    except ClusterError:
        return False
    return True


def open_cluster(name: str, *, kept: bool) -> Cluster:
    """Return a running cluster of that name; created if necessary. A kept one outlives this process."""
    minor = get_kube_minor()
    provider = get_provider(minor)
    if provider is Provider.EXISTING:
        return get_named_by_user()
    if provider.engine:
        return create_kind(name, build_kind(provider.engine, minor), kube_minor=minor, kept=kept)
    return local.up(name, kube_minor=minor, kept=kept)


def get_cluster(name: str) -> Cluster:
    """Return a running cluster by name. Raises ClusterError if there is none."""
    minor = get_kube_minor()
    if decide_provider(os.environ) is Provider.EXISTING:
        return get_named_by_user()
    if made_by_kind := get_kind_record(name):
        return get_kind(name, build_kind(made_by_kind.engine, minor))
    record = get_record(name)
    if record is None:
        raise ClusterError(f"there is no cluster {name}; make one with: local-kubernetes up {name}")
    return local.LocalCluster(record, local.get_programs(record.kube_minor))


def sweep_kind() -> list[str]:
    """Remove kind's clusters of dead processes, on the engines that answer; return their names."""
    with locked(get_kind_directory() / "lock"):
        engines = {record.engine for record in list_kind_records() if record.is_abandoned()}
        minor = get_kube_minor()
        return sweep_kind_locked({engine: build_kind(engine, minor) for engine in engines if engine_answers(engine)})


def build_kind(engine: str, kube_minor: str) -> Kind:
    """Find or build what runs kind on an engine."""
    kubectl = find_tool("kubectl", kube_minor) or get_kind_directory() / kube_minor / "kubectl"
    return Kind(engine, program=tool("kind", kube_minor), kubectl=kubectl)


def get_named_by_user() -> ExistingCluster:
    """Return the cluster named by the user, if the user has consented to its use."""
    kubectl = tool("kubectl", get_kube_minor())
    return open_existing(Path(os.environ[KUBECONFIG]), os.environ.get(CONSENT), kubectl)
