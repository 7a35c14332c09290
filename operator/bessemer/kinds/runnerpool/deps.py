"""Dependencies of a pass over a pool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bessemer.engine.cache import ChildCache, ObjectCache
from bessemer.engine.deps import Deps
from bessemer.engine.loop import Key
from bessemer.engine.memory import Memories
from bessemer.engine.secretwatch import SecretWatches
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
_Endpoint = tuple[str, str | None, str | None]


@dataclass
class GitLabClients:
    """Clients for GitLab by URL, token and CA bundle; each is kept as long as a pool uses it."""

    connect: Connect
    _open: dict[_Endpoint, GitLab] = field(default_factory=dict, repr=False)
    _used: dict[Key, _Endpoint] = field(default_factory=dict, repr=False)

    async def use(self, pool: Key, url: str, token: str | None, ca: str | None) -> GitLab:
        """Return the client; created if necessary. Closes the pool's previous client if no other pool uses it."""
        endpoint = (url, token, ca)
        if self._used.get(pool) != endpoint:
            await self.leave(pool)
        if endpoint not in self._open:
            self._open[endpoint] = self.connect(*endpoint)  # may raise: the pool counts as a user only afterwards
        self._used[pool] = endpoint
        return self._open[endpoint]

    async def leave(self, pool: Key) -> None:
        """Record that a pool no longer uses a client."""
        endpoint = self._used.pop(pool, None)
        if endpoint is not None and endpoint not in self._used.values():
            await self._open.pop(endpoint).close()

    async def close(self) -> None:
        """Close all clients."""
        for pool in list(self._used):
            await self.leave(pool)


@dataclass(frozen=True)
class PoolDeps(Deps):
    """External dependencies of a pass over a pool, and state kept between passes."""

    gitlab_clients: GitLabClients
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
