"""The progress that the running phase of a build posts: kept in memory, for people; nothing depends on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from bessemer.api.phase_contract import Progress


@dataclass
class Memory:
    """What is remembered of a build: the token of its posts, and the latest progress of its running phase."""

    uid: str = ""
    token: str | None = field(default=None, repr=False)
    """The token of posts; None before the build has its Secret."""
    progress: Progress | None = None

    def know(self, uid: str, token: str | None) -> None:
        """Note that the build is there, and the token of its posts; of an earlier one of its name nothing is kept."""
        if self.uid != uid:
            self.uid, self.progress = uid, None
        self.token = token
