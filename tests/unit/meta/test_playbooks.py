"""Our roles keep Ansible's conventions: each describes itself, and its tasks work for a login that is not root."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.checkout import ROOT

ROLES = sorted((ROOT / "playbooks/roles").iterdir())
WITHOUT_MACHINE = frozenset(
    f"ansible.builtin.{name}"
    for name in ("include_tasks", "include_vars", "import_tasks", "include_role", "import_role", "meta", "fail")
)
"""Actions that run where Ansible runs: they need no privileges on the machine."""


def list_tasks(tasks: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for task in tasks:
        if "block" in task:
            yield from list_tasks(task["block"])
        else:
            yield task


def read_tasks(role: Path, part: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Read the tasks of a role, each with the name of its action."""
    for file in sorted((role / part).glob("*.yml")):
        for task in list_tasks(yaml.safe_load(file.read_text())):
            (action,) = (key for key in task if key.startswith("ansible.builtin."))
            yield action, task


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_describes_itself_and_pulls_in_no_other(role: Path) -> None:
    meta = yaml.safe_load((role / "meta/main.yml").read_text())
    about = meta["galaxy_info"]
    assert meta["dependencies"] == []
    assert about["author"]
    assert about["description"]
    assert about["license"] == "Apache-2.0"
    assert {platform["name"] for platform in about["platforms"]} == {"Debian", "EL"}
    assert (role / "README.md").exists()


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_each_task_on_a_machine_becomes_root(role: Path) -> None:
    tasks = [*read_tasks(role, "tasks"), *read_tasks(role, "handlers")]
    assert tasks
    as_login = [task["name"] for action, task in tasks if action not in WITHOUT_MACHINE and not task.get("become")]
    assert as_login == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_services_are_restarted_by_handlers_that_are_notified(role: Path) -> None:
    restarting = [
        task["name"]
        for action, task in read_tasks(role, "tasks")
        if action == "ansible.builtin.service" and task[action]["state"] not in ("started", "stopped")
    ]
    assert restarting == []
    handlers = list(read_tasks(role, "handlers"))
    notified = {name for _, task in read_tasks(role, "tasks") for name in as_list(task.get("notify"))}
    assert {task.get("listen", task["name"]) for _, task in handlers} == {
        name for template in notified for name in EXPANDED.get(template, [template])
    }


EXPANDED = {"Restart {{ slurm_daemon }}": ["Restart slurmctld", "Restart slurmd"]}


def as_list(names: str | list[str] | None) -> list[str]:
    return names if isinstance(names, list) else [names] if names else []
