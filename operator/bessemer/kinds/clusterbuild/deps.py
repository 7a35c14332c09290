"""Dependencies of a pass over a build, and the in-memory state of builds between passes."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.engine import deps
from bessemer.engine.memory import Memories
from bessemer.engine.ownkey import OwnKey
from bessemer.engine.secretwatch import SecretWatches
from bessemer.kinds.clusterbuild.progress import Memory


@dataclass(frozen=True)
class Deps(deps.Deps):
    """The external dependencies of a pass over a build."""

    own_key: OwnKey
    memories: Memories[Memory]
    secrets: SecretWatches
    """The watches of users' Secrets for which builds wait."""
