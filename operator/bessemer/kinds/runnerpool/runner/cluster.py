"""Find the Slurm cluster that a pool's jobs run on: given in the spec, or made by a ClusterBuild."""

from __future__ import annotations

from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.errors import Retry
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.render.slurm_files import SlurmHost


async def get_slurm_host(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec) -> SlurmHost | None:
    """Return the host that jobs are submitted on; None for another executor.

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
    target = await deps.find_management_node(pool.namespace, name)
    if target is None:
        raise Retry("ClusterMissing", f"ClusterBuild {name} (spec.executor.slurm.clusterRef) does not exist")
    return SlurmHost(target.address, target.port, target.host_key)
