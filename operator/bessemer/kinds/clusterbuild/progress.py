"""Progress posted by the running phase of a build: kept in memory for display; no decision depends on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from bessemer.api.phase_contract import Progress


@dataclass
class Memory:
    """In-memory state of a build: the token of its posts and the latest progress of its running phase."""

    uid: str = ""
    token: str | None = field(default=None, repr=False)
    """Token of the posts; None until the build has its Secret."""
    progress: Progress | None = None

    def know(self, uid: str, token: str | None) -> None:
        """Store the build's UID and token; discard the state of an earlier build of the same name."""
        if self.uid != uid:
            self.uid, self.progress = uid, None
        self.token = token
