"""Finds the management node of a Ready build, for pools that run jobs on its cluster."""

from __future__ import annotations

from bessemer.api.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.api.names import secret_name
from bessemer.api.reasons import CLUSTER_NOT_READY
from bessemer.errors import Retry
from bessemer.kinds.clusterbuild.keys import read_seed
from bessemer.kinds.clusterbuild.resource import CLUSTER_BUILDS
from bessemer.kube.protocol import SECRETS, Kubernetes
from bessemer.kube.secretdata import read_secret
from bessemer.machines.machine import SshTarget, build_management_target
from bessemer.machines.secrets import derive_host_key


async def find_management_node(kubernetes: Kubernetes, namespace: str, name: str) -> SshTarget | None:
    """Return the management node of a ClusterBuild; None if the build does not exist.

    Raises:
        Retry: ClusterNotReady, the build is not Ready yet, or its Secret is missing.
        Invalid: SecretBroken, a user changed its Secret.
    """
    raw = await kubernetes.get_object(CLUSTER_BUILDS, namespace, name)
    if raw is None:
        return None
    build = parse_cluster_build(raw)
    ready = build.status.condition("Ready")
    if build.spec is None or ready is None or ready.status != "True":
        why = f"{ready.reason}: {ready.message}" if ready else "it has just been created"
        raise Retry(CLUSTER_NOT_READY, f"ClusterBuild {name} is not Ready: {why}"[:1024])
    planted = await _get_planted_key(kubernetes, build) if build.spec.management.provision else ""
    return build_management_target(build.spec, planted)


async def _get_planted_key(kubernetes: Kubernetes, build: ClusterBuild) -> str:
    """Return the host key that the build has installed on its management node."""
    secret = await kubernetes.get_object(SECRETS, build.namespace, secret_name(build.name))
    if secret is None or build.spec is None:
        raise Retry(CLUSTER_NOT_READY, f"the Secret of ClusterBuild {build.name} is gone")
    seed = read_seed(read_secret(secret, f"{secret_name(build.name)} of ClusterBuild {build.name}"))
    return derive_host_key(build.uid, seed, build.spec.management.host).public
