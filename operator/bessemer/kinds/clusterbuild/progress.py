"""The progress that running phases post: kept in memory, for people; nothing depends on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from bessemer.api.phase_contract import Progress

Key = tuple[str, str]
"""Namespace and name of a build."""


@dataclass
class _Build:
    uid: str
    token: str | None = field(default=None, repr=False)
    progress: Progress | None = None


class ProgressBoard:
    """The builds that there are, the token of each one's posts, and the latest progress of its running phase."""

    def __init__(self) -> None:
        self._builds: dict[Key, _Build] = {}

    def know(self, key: Key, uid: str, token: str | None) -> None:
        """Record that a build exists, and its token; data of an earlier build with the same name is dropped."""
        known = self._builds.get(key)
        if known is None or known.uid != uid:
            known = self._builds[key] = _Build(uid)
        known.token = token

    def forget(self, key: Key) -> None:
        """Forget all of a build that is gone."""
        self._builds.pop(key, None)

    def put(self, key: Key, progress: Progress) -> None:
        """Take over what a phase posted, if the build is there."""
        if key in self._builds:
            self._builds[key].progress = progress

    def get(self, key: Key) -> Progress | None:
        """Return what the running phase posted last."""
        known = self._builds.get(key)
        return known.progress if known is not None else None

    def clear(self, key: Key) -> None:
        """Forget what was posted: another phase begins."""
        if key in self._builds:
            self._builds[key].progress = None

    def get_token(self, key: Key) -> str | None:
        """Return the token for reports of a build; None if it does not exist or has no token yet."""
        known = self._builds.get(key)
        return known.token if known is not None else None
