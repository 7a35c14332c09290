"""Find the Slurm cluster that a pool's jobs run on: given in the spec, or made by a ClusterBuild."""

from __future__ import annotations

from bessemer.clusterbuild.keys import read_seed
from bessemer.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.errors import Retry
from bessemer.kube.client import CLUSTER_BUILDS, SECRETS
from bessemer.kube.secretdata import read_secret
from bessemer.names import secret_name
from bessemer.phases.machines import build_management_target
from bessemer.phases.secrets import derive_host_key
from bessemer.runnerpool.deps import PoolDeps
from bessemer.runnerpool.resource import RunnerPool
from bessemer.runnerpool.slurm_files import SlurmHost
from bessemer.runnerpool.spec import RunnerPoolSpec


async def get_slurm_host(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec) -> SlurmHost | None:
    """Give the host that jobs are submitted on; None for another executor.

    Raises:
        Retry: the ClusterBuild is not there, or not Ready yet.
        Invalid: SecretBroken, its Secret was changed by hand.

    """
    slurm = spec.executor.slurm
    if slurm is None:
        return None
    if slurm.cluster_ref is None:
        return SlurmHost(slurm.host or "", slurm.port, slurm.host_key or "")
    name = slurm.cluster_ref.name
    raw = await deps.kubernetes.get_object(CLUSTER_BUILDS, pool.namespace, name)
    if raw is None:
        raise Retry("ClusterMissing", f"ClusterBuild {name} (spec.executor.slurm.clusterRef) does not exist")
    build = parse_cluster_build(raw)
    ready = build.status.condition("Ready")
    if build.spec is None or ready is None or ready.status != "True":
        why = f"{ready.reason}: {ready.message}" if ready else "it has just been created"
        raise Retry("ClusterNotReady", f"ClusterBuild {name} is not Ready: {why}"[:1024])
    planted = await _get_planted_key(deps, build) if build.spec.management.provision else ""
    target = build_management_target(build.spec, planted)
    return SlurmHost(target.address, target.port, target.host_key)


async def _get_planted_key(deps: PoolDeps, build: ClusterBuild) -> str:
    """Give the host key that the build has planted on its management node."""
    secret = await deps.kubernetes.get_object(SECRETS, build.namespace, secret_name(build.name))
    if secret is None or build.spec is None:
        raise Retry("ClusterNotReady", f"the Secret of ClusterBuild {build.name} is gone")
    seed = read_seed(read_secret(secret, f"{secret_name(build.name)} of ClusterBuild {build.name}"))
    return derive_host_key(build.uid, seed, build.spec.management.host).public
