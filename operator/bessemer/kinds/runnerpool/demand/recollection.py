"""Remembers the properties of listed jobs: a webhook contains a job's name, but not its tags. No I/O.

Each push creates jobs with the same names and tags. A job that was listed before need not be listed again to know which
pool takes it. If its tags have changed since, the pod that is sent for it ends without it, which causes a poll that
corrects the memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace

from bessemer.gitlab.hooks import JobHook
from bessemer.gitlab.protocol import PendingJob

MOST_JOBS = 4096
"""Maximum number of remembered jobs per source; the least recently listed ones are forgotten first."""
MOST_CHARACTERS = 512
"""Maximum size of a remembered job; a larger one is listed again each time."""

_Name = tuple[int | str, str, str, bool]


class Recollection:
    """Jobs by project, name and ref, because tags and protection may differ between branches.

    A project is identified by its number if GitLab reports it, because its path can change; otherwise by its path in
    lower case.
    """

    def __init__(self) -> None:
        self._jobs: OrderedDict[_Name, PendingJob] = OrderedDict()

    def put_poll(self, jobs: Iterable[PendingJob]) -> None:
        """Store the result of a poll; jobs of the same name with different tags can't predict the next one."""
        found: dict[_Name, PendingJob | None] = {}
        for job in jobs:
            project = job.project.lower() if job.project_id is None else job.project_id
            name = (project, job.name, job.ref, job.by_tag)
            other = found.setdefault(name, job)
            if other is None or other.tags != job.tags:
                found[name] = None
        for name, seen in found.items():
            self._jobs.pop(name, None)
            if seen is not None and seen.name and _count_characters(seen) <= MOST_CHARACTERS:
                self._jobs[name] = seen
        while len(self._jobs) > MOST_JOBS:
            self._jobs.popitem(last=False)

    def recall(self, hook: JobHook) -> PendingJob | None:
        """Return the expected properties of the job in a webhook; None if no such job was listed."""
        projects = (hook.project.lower(), *(() if hook.project_id is None else (hook.project_id,)))
        found = (self._jobs.get((project, hook.name, hook.ref, hook.by_tag)) for project in projects)
        like = next((job for job in found if job is not None), None)
        return None if like is None else replace(like, id=hook.job_id)


def _count_characters(job: PendingJob) -> int:
    return len(job.name) + len(job.ref) + len(job.project) + sum(map(len, job.tags))
