"""Dependencies of the reconcile of pools: clients, memories, settings, the clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bessemer.clock import Now
from bessemer.engine.events import EventRecorder
from bessemer.engine.loop import Key
from bessemer.engine.secretwatch import SecretWatches
from bessemer.engine.settings import Settings
from bessemer.engine.statuspace import StatusPace
from bessemer.gitlab.protocol import GitLab
from bessemer.kinds.runnerpool.demand.sources import Sources
from bessemer.kinds.runnerpool.facts import DoubtfulEnd, RunnerPodFact, StallLook
from bessemer.kinds.runnerpool.metrics import PoolMetrics
from bessemer.kinds.runnerpool.pods.cache import JobPods, PodCache
from bessemer.kinds.runnerpool.scaling.quota import Want
from bessemer.kube.protocol import Kubernetes
from bessemer.machines.machine import SshTarget

Connect = Callable[[str, str | None, str | None], GitLab]
"""Creates a client for the GitLab at a URL, with an optional access token and PEM bundle of certificate authorities."""


FindManagementNode = Callable[[str, str], Awaitable[SshTarget | None]]
"""Returns the management node of the ClusterBuild with this namespace and name; None where there is none. Raises Retry
while it is not Ready."""
_Endpoint = tuple[str, str | None, str | None]


@dataclass
class GitLabClients:
    """Clients for GitLab, one for each URL, token and bundle; each is kept as long as a pool uses it."""

    connect: Connect
    _open: dict[_Endpoint, GitLab] = field(default_factory=dict, repr=False)
    _used: dict[Key, _Endpoint] = field(default_factory=dict, repr=False)

    async def use(self, pool: Key, url: str, token: str | None, ca: str | None) -> GitLab:
        """Return the client, and create it if necessary; the pool's previous client is closed if no other pool
        uses it.
        """
        endpoint = (url, token, ca)
        if self._used.get(pool) != endpoint:
            await self.leave(pool)
        if endpoint not in self._open:
            self._open[endpoint] = self.connect(*endpoint)  # may raise: only then does the pool count as a user
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
class PoolDeps:
    """Everything outside of the process that a pass over a pool may touch, and what is remembered between passes."""

    kubernetes: Kubernetes
    settings: Settings
    recorder: EventRecorder
    now: Now
    gitlab_clients: GitLabClients
    sources: Sources
    pods: PodCache
    secrets: SecretWatches
    find_management_node: FindManagementNode
    metrics: PoolMetrics
    pools: dict[Key, dict[str, Any]] = field(default_factory=dict)
    """The pools as they were seen last."""
    paces: dict[Key, StatusPace] = field(default_factory=dict)
    """How far the writing of each pool's status is."""
    vanished: dict[Key, list[RunnerPodFact]] = field(default_factory=dict)
    """Pods that went without our doing, and that no pass has looked at yet."""
    job_pods: JobPods = field(default_factory=JobPods)
    """Pods of jobs, as they were seen last."""
    quiet: dict[Key, datetime] = field(default_factory=dict)
    """Since when pools have had neither waiting jobs nor pods of jobs."""
    taken: dict[Key, datetime] = field(default_factory=dict)
    """When a pod of each pool last ended that had had a job."""
    blocked: dict[Key, dict[int, datetime]] = field(default_factory=dict)
    """Slots of pools whose pod name is taken by another object, and when that was seen."""
    doubtful: dict[Key, list[DoubtfulEnd]] = field(default_factory=dict)
    """Of each pool the failures that count only if GitLab says that the pods' jobs still wait."""
    stalls: dict[Key, StallLook] = field(default_factory=dict)
    """Of pools whose pods don't start: what the events of one of these said."""
    quotas: dict[str, set[str]] = field(default_factory=dict)
    """Names of the ResourceQuotas by namespace, of those namespaces that were looked at or that have any."""
    wants: dict[Key, Want] = field(default_factory=dict)
    """Pods that pools could not create because of a quota."""
    begun: dict[Key, int] = field(default_factory=dict)
    """How many runners a pass has decided to create that are not there yet: other pools are not to have their room."""
    runners: dict[Key, Any] = field(default_factory=dict)
    """What registration knows of each pool's runner."""
    pauses: dict[Key, datetime] = field(default_factory=dict)
    """Until when GitLab wants to be left alone by what pools ask about their runners."""
    left_managers: dict[Key, dict[int, datetime]] = field(default_factory=dict)
    """Slots whose managers GitLab was not told to forget yet, as it could not be reached."""
