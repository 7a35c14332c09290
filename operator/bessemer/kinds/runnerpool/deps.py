"""Dependencies of a pass over a pool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bessemer.engine.cache import ChildCache, ObjectCache
from bessemer.engine.deps import Deps
from bessemer.engine.memory import Memories
from bessemer.engine.secretwatch import SecretWatches
from bessemer.gitlab.clients import ClientPool
from bessemer.gitlab.protocol import GitLab
from bessemer.kinds.runnerpool.demand.sources import Sources
from bessemer.kinds.runnerpool.facts import JobPodFact
from bessemer.kinds.runnerpool.memory import Memory
from bessemer.kinds.runnerpool.metrics import PoolMetrics
from bessemer.machines.machine import SshTarget

Connect = Callable[[str, str | None, str | None], GitLab]
"""Creates a client for the GitLab at a URL, with an optional access token and PEM bundle of certificate authorities."""
FindManagementNode = Callable[[str, str], Awaitable[SshTarget | None]]
"""Returns the management node of the ClusterBuild with this namespace and name; None if the build does not exist.
Raises Retry while it is not Ready."""


@dataclass(frozen=True)
class PoolDeps(Deps):
    """External dependencies of a pass over a pool, and state kept between passes."""

    gitlab_clients: ClientPool[GitLab]
    sources: Sources
    secrets: SecretWatches
    find_management_node: FindManagementNode
    pool_metrics: PoolMetrics
    pools: ObjectCache
    """The pools as the watch last reported them."""
    memories: Memories[Memory] = field(default_factory=lambda: Memories(Memory))
    job_pods: ChildCache[JobPodFact] = field(default_factory=ChildCache)
    """Pods of jobs as the watch last reported them."""
    quotas: dict[str, set[str]] = field(default_factory=dict)
    """Names of the ResourceQuotas by namespace, for namespaces that were read or have any."""
