"""Configuration files of our roles: settings of a site are combined with the role's, and no value adds a line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.checkout import ROOT

ROLES = ROOT / "playbooks/roles"
BASE = {
    "slurm_cluster_name": "suffix",
    "slurm_control_host": "oxygen1",
    "slurm_control_address": "127.0.0.1",
    "slurm_nodes": "n[1-2]",
}
FILES = ("slurm/templates/slurm.conf", "slurm/templates/cgroup.conf", "time/templates/chrony.conf")


def render(directory: Path, variables: Mapping[str, Any]) -> dict[str, list[str]]:
    """Render the files by Ansible itself; returns the lines of each."""
    sources = ["slurm/defaults/main.yml", "slurm/vars/main.yml", "time/defaults/main.yml", "time/vars/main.yml"]
    loaded = [{"ansible.builtin.include_vars": str(ROLES / file)} for file in (*sources, "time/vars/Debian.yml")]
    written = [
        {"ansible.builtin.template": {"src": f"{ROLES / file}.j2", "dest": str(directory / Path(file).name)}}
        for file in FILES
    ]
    play = [{"hosts": "oxygen1", "gather_facts": False, "tasks": [*loaded, *written]}]
    (directory / "play.yml").write_text(yaml.safe_dump(play))
    (directory / "variables.json").write_text(json.dumps({**BASE, **variables}))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "oxygen1,", "-c", "local"]
    command += ["-e", "@variables.json", "-e", f"ansible_python_interpreter={sys.executable}", "play.yml"]
    done = subprocess.run(command, cwd=directory, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return {Path(file).name: (directory / Path(file).name).read_text().splitlines() for file in FILES}


def test_settings_of_a_site_replace_and_add_to_those_of_the_role(tmp_path: Path) -> None:
    files = render(
        tmp_path,
        {
            "slurm_conf": {"MpiDefault": None, "ReturnToService": 1, "TrackWCKey": True, "DownNodes": ["n1", "n2"]},
            "slurm_cgroup_conf": {"CgroupPlugin": None, "ConstrainCores": True},
            "time_servers": ["ntp.example"],
            "time_chrony_conf": {"rtcsync": None, "makestep": "0.1 1", "lock_all": True, "pool": ["a iburst", "b"]},
        },
    )
    slurm = files["slurm.conf"]
    assert not [line for line in slurm if line.startswith("MpiDefault")]
    assert [line for line in slurm if line.startswith("ReturnToService")] == ["ReturnToService=1"]
    assert slurm[-5:-2] == ["TrackWCKey=yes", "DownNodes=n1", "DownNodes=n2"]
    assert slurm[-2:] == ["NodeName=n[1-2] State=UNKNOWN", "PartitionName=all Nodes=ALL Default=YES State=UP"]
    assert files["cgroup.conf"] == ["# Ansible managed", "ConstrainCores=yes"]
    assert [line for line in files["chrony.conf"] if not line.startswith("#")] == [
        *("server ntp.example iburst", "driftfile /var/lib/chrony/chrony.drift", "makestep 0.1 1"),
        *("lock_all", "pool a iburst", "pool b"),
    ]


def test_no_value_adds_a_line_or_swallows_the_next(tmp_path: Path) -> None:
    hostile = {"Epilog": "/a\nProlog=/b", "Prolog": "/c \\", "Licenses": ["x\r\nInclude /d\\"]}
    files = render(
        tmp_path,
        {"slurm_conf": hostile, "slurm_cgroup_conf": hostile, "time_chrony_conf": {"user": "a\nallow all"}},
    )
    written = ["Epilog=/a Prolog=/b", "Prolog=/c", "Licenses=x Include /d"]
    assert files["slurm.conf"][-5:-2] == written
    assert files["cgroup.conf"][-3:] == written
    assert files["chrony.conf"][-1] == "user a allow all"
