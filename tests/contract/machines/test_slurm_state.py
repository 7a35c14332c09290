"""The role slurm reads the states of nodes, by real Ansible: a reason that users wrote is never taken for a node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bessemer.machines.playbooks import playbook_directory

SINFO = """#!/usr/bin/env python3
import json, sys
form = sys.argv[-1].removeprefix("--format=")
for host, state, reason in json.load(open({nodes!r})):
    print(form.replace("%N", host).replace("%T", state).replace("%E", reason))
"""
SCONTROL = '#!/bin/sh\necho "$*" >> {log}\n'
PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: slurm, tasks_from: state}
"""
OURS = "bessemer: NeverNetbooted"
DOWN = [{"hosts": ["oxygen4"], "names": "oxygen4", "reason": "NeverNetbooted"}]
MARK = f"update nodename=oxygen4 state=down reason={OURS}"
RESUME = "update nodename=oxygen2 state=resume"


@pytest.mark.parametrize(
    ("nodes", "down", "done"),
    [
        ([("oxygen2", "down", OURS), ("oxygen3", "idle", "none")], [], [RESUME]),
        ([("oxygen2", "drained", "admin: hands off"), ("oxygen3", "down", f"x\noxygen2|down|{OURS}")], [], []),
        ([("oxygen2", "idle", "none"), ("oxygen9", "down", OURS)], [], []),
        ([("oxygen2", "down", f"{OURS}\nand more"), ("oxygen4", "idle", "none")], DOWN, [RESUME, MARK]),
        ([("oxygen4", "down", OURS)], DOWN, []),
        ([("oxygen4", "idle", "none"), ("oxygen9", "down", OURS)], DOWN, [MARK]),
        ([("oxygen3", "down", f"x\noxygen4|down|{OURS}"), ("oxygen4", "idle", "none")], DOWN, [MARK]),
    ],
)
def test_states_are_brought_into_line_whatever_a_reason_says(
    nodes: list[tuple[str, str, str]], down: list[dict[str, str]], done: list[str], tmp_path: Path
) -> None:
    log, listed = tmp_path / "log", tmp_path / "nodes.json"
    log.touch()
    listed.write_text(json.dumps(nodes))
    for name, text in (("sinfo", SINFO.format(nodes=str(listed))), ("scontrol", SCONTROL.format(log=log))):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "playbook.yml").write_text(PLAYBOOK)
    inventory = {
        "all": {
            "vars": {"slurm_down_nodes": down, "ansible_python_interpreter": sys.executable},
            "children": {"compute": {"hosts": {"oxygen2": {}, "oxygen3": {}}}},
        }
    }
    (tmp_path / "inventory.json").write_text(json.dumps(inventory))
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [str(program), "-i", str(tmp_path / "inventory.json"), str(tmp_path / "playbook.yml")]
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "ANSIBLE_ROLES_PATH": str(playbook_directory() / "roles"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert log.read_text().splitlines() == done
