"""Dependencies of a pass over a trigger."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from bessemer.engine.cache import ObjectCache
from bessemer.engine.deps import Deps
from bessemer.engine.kind import Wake
from bessemer.engine.memory import Memories
from bessemer.engine.ownkey import OwnKey
from bessemer.engine.secretwatch import SecretWatches
from bessemer.gitlab.clients import ClientPool
from bessemer.gitlab.jobproofs import JobProofs
from bessemer.gitlab.projectclient import ProjectClient
from bessemer.kinds.buildtrigger.commits import CommitLocks
from bessemer.kinds.buildtrigger.memory import Memory
from bessemer.kinds.buildtrigger.metrics import TriggerMetrics

JUDGED_AT_ONCE = 2
"""Events whose files are read as YAML at once: each may take a hundred megabytes and some seconds."""


@dataclass(frozen=True)
class TriggerDeps(Deps):
    """External dependencies of a pass over a trigger, and state kept between passes."""

    own_key: OwnKey
    gitlabs: ClientPool[ProjectClient]
    secrets: SecretWatches
    wake: Wake
    triggers: ObjectCache
    """The triggers as the watch last reported them."""
    proofs: ClientPool[JobProofs]
    trigger_metrics: TriggerMetrics
    judging: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(JUDGED_AT_ONCE))
    """Holds those whose files are read as YAML."""
    commits: CommitLocks = field(default_factory=CommitLocks)
    memories: Memories[Memory] = field(default_factory=lambda: Memories(Memory))
