"""The queue stamp of each runner token: a random text that changes when a job comes that the runner could take.

Source: https://docs.gitlab.com/ci/runners/long_polling/, app/services/ci/update_build_queue_service.rb
"""

from __future__ import annotations

import secrets

from .matching import compute_fits, compute_serves
from .model import Job
from .state import GitLabState

STAMP_SECONDS = 3600
"""How long a stamp lives without being set or asked for."""
RECENT_SECONDS = 3600
"""Runners that were not heard of for that long are not told of jobs."""


def ensure_stamp(state: GitLabState, token: str) -> str:
    """Return the queue stamp of a runner token; a new one if there is none or it is too old."""
    value = read_stamp(state, token) or secrets.token_hex(16)
    state.stamps[token] = (value, state.clock.now())
    return value


def read_stamp(state: GitLabState, token: str) -> str | None:
    """Return the queue stamp as Workhorse sees it; None: there is none."""
    value, at = state.stamps.get(token, ("", 0.0))
    return value if value and state.clock.now() - at < STAMP_SECONDS else None


def tick_queues(state: GitLabState, job: Job) -> None:
    """A job became pending: change the stamp of each runner that could take it, also of paused ones."""
    now = state.clock.now()
    for runner in state.runners.values():
        heard = runner.contacted_at is not None and now - runner.contacted_at < RECENT_SECONDS
        if heard and compute_fits(runner, job) and compute_serves(runner, state.projects[job.project_id], state.groups):
            state.stamps[runner.token] = (secrets.token_hex(16), now)
            state.tell("queue", runner.id)
