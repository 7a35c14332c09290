"""The progress that running phases post: kept in memory, for people; nothing depends on it."""

from __future__ import annotations

from bessemer.phases.report import Progress

Key = tuple[str, str]
"""Namespace and name of a build."""


class ProgressBoard:
    """The latest progress of each build's running phase."""

    def __init__(self) -> None:
        self._latest: dict[Key, Progress] = {}

    def put(self, key: Key, progress: Progress) -> None:
        """Take over what a phase posted."""
        self._latest[key] = progress

    def get(self, key: Key) -> Progress | None:
        """Give what the running phase posted last."""
        return self._latest.get(key)

    def clear(self, key: Key) -> None:
        """Forget what was posted: another phase begins, or the build is gone."""
        self._latest.pop(key, None)
