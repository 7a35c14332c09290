"""How long the simulator's runner tokens are valid: the shortest of what all settings say that hold for the runner."""

from __future__ import annotations

from typing import Any

import pytest

from gitlab_simulator.runners import rotate_token
from gitlab_simulator.seeding import apply_seed
from gitlab_simulator.spec import Seed
from gitlab_simulator.state import GitLabState
from scenes import START, add_runner, build_state

GROUPS = [
    {"path": "hpc", "runner_token_expiration_interval": 100, "subgroup_runner_token_expiration_interval": 80,
     "project_runner_token_expiration_interval": 60},
    {"path": "hpc/deep", "runner_token_expiration_interval": 90},
    {"path": "hpc/free"},
    {"path": "else"},
]  # fmt: skip
PROJECTS = [
    {"path": "hpc/deep/sim", "runner_token_expiration_interval": 70},
    {"path": "else/where"},
    {"path": "else/own", "runner_token_expiration_interval": 70},
]


@pytest.fixture
def state() -> GitLabState:
    state = build_state("else/first")
    apply_seed(state, Seed.model_validate({"groups": GROUPS, "projects": PROJECTS}))
    return state


def owner(state: GitLabState, path: str) -> dict[str, Any]:
    """Return the fields of a runner that belongs to a group, a project, or, for no path, to the instance."""
    if (project := state.find_project(path)) is not None:
        return {"kind": "project_type", "project_id": project.id}
    group = state.find_group(path)
    return {"kind": "group_type", "group_id": group.id} if group else {}


@pytest.mark.parametrize(
    ("path", "settings", "seconds"),
    [
        ("", {}, None),
        ("", {"runner_token_expiration_interval": 50}, 50),
        ("", {"project_runner_token_expiration_interval": 50, "group_runner_token_expiration_interval": 50}, None),
        ("hpc", {"runner_token_expiration_interval": 50}, 100),
        ("hpc", {"group_runner_token_expiration_interval": 50}, 50),
        ("hpc", {"group_runner_token_expiration_interval": 200}, 100),
        ("hpc/deep", {}, 80),
        ("hpc/free", {}, 80),
        ("else", {}, None),
        ("hpc/deep/sim", {}, 60),
        ("hpc/deep/sim", {"project_runner_token_expiration_interval": 50}, 50),
        ("else/own", {}, 70),
        ("else/where", {"group_runner_token_expiration_interval": 50, "runner_token_expiration_interval": 50}, None),
    ],
)
def test_a_token_ends_after_the_shortest_interval_and_a_new_one_as_long_after_it_was_made(
    state: GitLabState, path: str, settings: dict[str, float], seconds: float | None
) -> None:
    for name, value in settings.items():
        setattr(state.settings, name, value)
    runner = add_runner(state, **owner(state, path))
    assert runner.token_expires_at == (None if seconds is None else START + seconds)
    state.clock.advance(10)
    rotate_token(state, runner)
    assert runner.token_expires_at == (None if seconds is None else START + seconds + 10)


def test_an_end_that_was_asked_for_holds_until_the_token_is_replaced(state: GitLabState) -> None:
    state.settings.runner_token_expiration_interval = 50
    runner = add_runner(state, token_expires_at="2027-01-15T08:00:20Z")
    assert runner.token_expires_at == START + 20
    rotate_token(state, runner)
    assert runner.token_expires_at == START + 50
