"""Which of the refs that jobs wait at are protected. What was read of a project is good for five minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from urllib.parse import quote

from bessemer.api.gitlab import matches_ref
from bessemer.gitlab.jobs import make_name, parse_object
from bessemer.gitlab.pages import Effort, iterate_pages
from bessemer.gitlab.protocol import AccessTokenRefused, GitLabNotFound, GitLabRefused, PendingJob
from bessemer.gitlab.transport import Transport

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
    """None: the token may not see them, or there are more than are read."""


class ProtectedRefs:
    """The rules of projects, as one access token sees them."""

    def __init__(self, transport: Transport, monotonic: Callable[[], float]) -> None:
        self._transport, self._monotonic = transport, monotonic
        self._rules: dict[tuple[int | str, bool], _Rules] = {}

    async def add_protected(self, jobs: Iterable[PendingJob], effort: Effort) -> list[PendingJob]:
        """Look up which jobs wait at protected refs, as far as the effort allows; the rest, and what the token may not
        see, stays unknown. Raises GitLab's other errors.
        """
        since = self._monotonic() - KEPT_SECONDS
        self._rules = {key: rules for key, rules in self._rules.items() if rules.read > since}
        return [replace(job, protected=await self._find_protected(job, effort)) for job in jobs]

    async def _find_protected(self, job: PendingJob, effort: Effort) -> bool | None:
        if job.ref.startswith(MERGE_REQUEST):
            return None
        project = job.project if job.project_id is None else job.project_id
        key = (project, job.by_tag)
        if key not in self._rules:
            if effort.spent:
                return None
            names = await self._read_names(*key, effort)
            if names is None and effort.spent:
                return None
            self._rules[key] = _Rules(self._monotonic(), names)
        names = self._rules[key].names
        return None if names is None else matches_ref(job.ref, names)

    async def _read_names(self, project: int | str, by_tag: bool, effort: Effort) -> tuple[str, ...] | None:
        path = f"/projects/{quote(str(project), safe='')}/protected_{'tags' if by_tag else 'branches'}"
        names: list[str] = []
        try:
            async for page, last in iterate_pages(self._transport, path, {}, effort):
                names += [make_name(parse_object(entry).get("name")) for entry in page]
                if last:
                    return tuple(names)
        except AccessTokenRefused:
            raise
        except (GitLabRefused, GitLabNotFound):
            return None
        return None
