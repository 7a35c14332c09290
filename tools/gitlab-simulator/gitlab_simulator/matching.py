"""Which runner may take which job, and in what order. Pure.

Sources: https://docs.gitlab.com/ci/runners/runners_scope/, https://docs.gitlab.com/ci/runners/configure_runners/
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable

from .model import AT_RUNNER, Group, Job, JobStatus, Project, Runner, RunnerType


def compute_is_below(path: str, group_path: str) -> bool:
    """Return whether a full path lies in a group, at any depth."""
    return path.startswith(f"{group_path}/")


def compute_is_protected(project: Project, ref: str, *, tag: bool) -> bool:
    """Return whether a branch or tag is protected; ``*`` in a rule stands for any text."""
    rules = project.protected_tags if tag else project.protected_branches
    return any(fnmatch.fnmatchcase(ref, rule.replace("[", "[[]").replace("?", "[?]")) for rule in rules)


def compute_serves(runner: Runner, project: Project, groups: dict[int, Group]) -> bool:
    """Return whether a runner is available to a project."""
    match runner.type:
        case RunnerType.INSTANCE:
            return project.shared_runners_enabled
        case RunnerType.GROUP:
            group = groups.get(runner.group_id or 0)
            return project.group_runners_enabled and bool(
                group and compute_is_below(project.full_path, group.full_path)
            )
        case RunnerType.PROJECT:
            return project.id in runner.project_ids


def compute_fits(runner: Runner, job: Job) -> bool:
    """Return whether a runner that serves the project may take the job: tags, untagged, protected.

    Whether it is paused is no part of this, as a paused runner's queue is ticked too.
    """
    if runner.access_level == "ref_protected" and not job.protected:
        return False
    if not job.tags:
        return runner.run_untagged
    return set(job.tags) <= set(runner.tags)


def decide_queue(
    runner: Runner, jobs: Iterable[Job], projects: dict[int, Project], groups: dict[int, Group]
) -> list[Job]:
    """List the pending jobs that a runner may take, the oldest first."""
    queue = [
        job
        for job in jobs
        if job.status is JobStatus.PENDING
        and compute_fits(runner, job)
        and compute_serves(runner, projects[job.project_id], groups)
    ]
    return sorted(queue, key=lambda job: job.id)


def decide_fair_queue(queue: Iterable[Job], jobs: Iterable[Job], runners: dict[int, Runner]) -> list[Job]:
    """Order the queue of an instance runner: projects with fewer jobs on instance runners first, then by age."""
    running = Counter(
        job.project_id
        for job in jobs
        if job.status in AT_RUNNER
        and (at := runners.get(job.runner_id or 0)) is not None
        and at.type is RunnerType.INSTANCE
    )
    return sorted(queue, key=lambda job: (running[job.project_id], job.id))
