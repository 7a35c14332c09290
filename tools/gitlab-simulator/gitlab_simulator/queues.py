"""How a runner is heard of and gets one job of its queue.

Source: app/services/ci/register_job_service.rb, https://docs.gitlab.com/ci/runners/
"""

from __future__ import annotations

from typing import Any

from .jobs import start_job
from .matching import decide_fair_queue, decide_queue
from .model import Job, Manager, Runner, RunnerType
from .state import GitLabState

LEGACY_SYSTEM_ID = "<legacy>"


def heartbeat(
    state: GitLabState, runner: Runner, system_id: str | None, info: dict[str, Any], ip_address: str
) -> Manager:
    """Note that a runner was heard of; its manager record is made if that system_id is new."""
    now = state.clock.now()
    runner.contacted_at = now
    system_id = system_id or LEGACY_SYSTEM_ID
    manager = runner.managers.get(system_id)
    if manager is None:
        manager = Manager(state.next_id("manager"), runner.id, system_id, now, now)
        runner.managers[system_id] = manager
    manager.contacted_at = now
    manager.ip_address = ip_address
    manager.info.update(info)
    return manager


def claim_job(state: GitLabState, runner: Runner, manager: Manager, claimed_by: str) -> Job | None:
    """Return the runner the next job of its queue, which runs from now on; None: there is none."""
    queue = decide_queue(runner, state.jobs.values(), state.projects, state.groups)
    if runner.type is RunnerType.INSTANCE:
        queue = decide_fair_queue(queue, state.jobs.values(), state.runners)
    if not queue:
        return None
    job = queue[0]
    job.runner_id, job.system_id, job.claimed_by = runner.id, manager.system_id, claimed_by
    job.runner_features = dict(manager.info.get("features") or {})
    start_job(state, job)
    return job
