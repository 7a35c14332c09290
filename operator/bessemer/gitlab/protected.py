"""Which of the refs that jobs wait at are protected. What was read of a project is good for five minutes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from urllib.parse import quote

import gitlab
from gitlab.exceptions import GitlabHttpError

from bessemer.gitlab.failures import is_hidden
from bessemer.gitlab.pages import list_pages
from bessemer.gitlab.protocol import PendingJob

KEPT_SECONDS = 300.0
MERGE_REQUEST = "refs/merge-requests/"
"""How the refs of merge request pipelines begin. GitLab (from 18.1 on) may protect those between protected branches, by
a setting of the project that only Maintainers are shown, and by what the user who started the pipeline may push to,
which the API does not say of others: so it is not known.
Source: https://docs.gitlab.com/ci/pipelines/merge_request_pipelines/#control-access-to-protected-variables-and-runners
"""


@dataclass(frozen=True)
class _Rules:
    """The names that are protected in a project, of branches or of tags."""

    read: float
    names: tuple[str, ...] | None
    """None: the token may not see them."""


class ProtectedRefs:
    """The rules of projects, as one access token sees them."""

    def __init__(self, api: gitlab.Gitlab, monotonic: Callable[[], float]) -> None:
        self._api, self._monotonic = api, monotonic
        self._rules: dict[tuple[str, bool], _Rules] = {}

    def add_protected(self, jobs: Iterable[PendingJob]) -> list[PendingJob]:
        """Look up which jobs wait at protected refs; raises python-gitlab's errors, but for what the token may not see:
        there it stays unknown.
        """
        since = self._monotonic() - KEPT_SECONDS
        self._rules = {key: rules for key, rules in self._rules.items() if rules.read > since}
        return [replace(job, protected=self._find_protected(job)) for job in jobs]

    def _find_protected(self, job: PendingJob) -> bool | None:
        if job.ref.startswith(MERGE_REQUEST):
            return None
        key = (job.project, job.by_tag)
        if key not in self._rules:
            self._rules[key] = _Rules(self._monotonic(), self._read_names(*key))
        names = self._rules[key].names
        return None if names is None else _matches(job.ref, names)

    def _read_names(self, project: str, by_tag: bool) -> tuple[str, ...] | None:
        path = f"/projects/{quote(project, safe='')}/protected_{'tags' if by_tag else 'branches'}"
        try:
            found, _ = list_pages(self._api, path, {})
        except GitlabHttpError as error:
            if is_hidden(error):
                return None
            raise
        return tuple(entry["name"] for entry in found)


def _matches(ref: str, names: Iterable[str]) -> bool:
    """Tell whether a rule is for the ref; ``*`` alone stands for any text.

    Source: https://docs.gitlab.com/user/project/repository/branches/protected/#use-wildcard-rules
    """
    return any(re.fullmatch(".*".join(map(re.escape, name.split("*"))), ref, re.DOTALL) for name in names)
