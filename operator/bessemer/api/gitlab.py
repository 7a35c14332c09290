"""How an object names its GitLab; shared by the kinds that have one."""

from __future__ import annotations

from collections.abc import Iterable

from bessemer.api.base import ApiModel
from bessemer.api.fields import GitLabUrl
from bessemer.api.references import SecretReference

PATH_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[.]?[A-Za-z0-9_][A-Za-z0-9_.-]*)*$"
"""Full path of a group or project."""
PROJECT_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[.]?[A-Za-z0-9_][A-Za-z0-9_.-]*)+$"
"""Full path of a project, which includes its group or user."""


class GitLabEndpoint(ApiModel):
    """One GitLab."""

    url: GitLabUrl
    """URL of GitLab, as seen from pods."""
    ca_secret: SecretReference | None = None
    """The Secret with a PEM bundle of certificate authorities to verify GitLab's certificate. Defaults to the
    certificate authorities in the images."""


def matches_ref(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a branch or tag has one of these names; ``*`` alone stands for any text, also with a slash.

    Source: https://docs.gitlab.com/user/project/repository/branches/protected/#use-wildcard-rules and
    app/models/ref_matcher.rb of gitlab-org/gitlab
    """
    return any(_is_like(name, pattern) for pattern in patterns)


def _is_like(name: str, pattern: str) -> bool:
    """Compare in a time that grows with the lengths alone: patterns are written by users, with any number of ``*``."""
    first, *parts = pattern.split("*")
    if not parts:
        return name == pattern
    last = parts.pop()
    end = len(name) - len(last)
    if not name.startswith(first) or not name.endswith(last) or end < len(first):
        return False
    at = len(first)
    for part in parts:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
