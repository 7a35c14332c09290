"""The whole playbook of the management node, with the inventory of a build, on a throw-away machine."""

from __future__ import annotations

from pathlib import Path

from bessemer.api.phase_contract import PhaseName
from bessemer.phases.hosts import build_inventory
from tests.contract.machines.role_machine import run_role_machine
from tests.support.checkout import ROOT
from tests.unit.phases.builders import build_input, build_spec

VARIABLES = {
    "ansible_python_interpreter": "/usr/bin/python3",
    "boot_server_downloads": [],
    "cluster_network_manager": "None",  # the test itself is
    "slurm_cgroup_plugin": "disabled",
    "slurm_process_tracking": "proctrack/linuxproc",
    "slurm_task_plugin": "task/none",
    "time_chrony_options": "-x",  # all machines here have one clock
}


def test_a_management_node_is_configured_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    power = {"powerman": {"address": "power.example", "managementAddress": "10.77.0.254"}}
    spec = build_spec(configuration={"variables": VARIABLES}, power=power)
    inventory = build_inventory(build_input(PhaseName.CONFIGURE_MANAGEMENT, spec), ())
    inventory["all"]["vars"] |= {"ansible_connection": "local", "munge_key_file": "/tmp/munge.key"}
    packages = ["dnsmasq", "ipxe", "chrony", "munge", "slurmctld", "slurm-client", "powerman"]
    with run_role_machine(tmp_path, packages) as machine:
        machine.run("ip", "link", "add", "eth1", "type", "bridge")
        machine.run("ip", "address", "add", "10.141.0.1/16", "dev", "eth1")
        machine.run("ip", "link", "set", "eth1", "up")
        machine.run("rm", "-rf", "/var/spool/slurmctld", "/var/log/slurm", "/etc/slurm")
        (machine.root / "tmp/munge.key").write_bytes(b"k" * 64)
        playbook = str(ROOT / "playbooks/configure_management.yml")
        assert machine.run_playbook(playbook, inventory)["changed"] > 20
        assert machine.run_playbook(playbook, inventory)["changed"] == 0
        assert "UP" in machine.run("scontrol", "ping").stdout
        assert machine.run("sh", str(ROOT / "playbooks/files/daemon_logs.sh")).stdout == ""
