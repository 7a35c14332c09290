"""Parts of our roles on a throw-away machine with real daemons: clock, powerman, slurmctld and what its log says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.machines.role_machine import RoleMachine, run_role_machine
from tests.support.checkout import ROOT


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleMachine]:
    with run_role_machine(
        tmp_path_factory.mktemp("machine"), ["powerman", "slurmctld", "slurm-client", "munge"]
    ) as made:
        yield made


def role(name: str, tasks_from: str = "main") -> list[dict[str, Any]]:
    return [{"ansible.builtin.include_role": {"name": name, "tasks_from": tasks_from}}]


def put(machine: RoleMachine, path: str, text: str, mode: int = 0o644) -> None:
    file = machine.root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def ask_daemons(machine: RoleMachine) -> str:
    return machine.run("sh", str(ROOT / "playbooks/files/daemon_logs.sh")).stdout


def test_a_clock_that_is_far_off_is_set_and_any_other_is_left_alone(machine: RoleMachine) -> None:
    assert machine.apply(role("time", "clock"), {})["changed"] == 0
    stub = '#!/bin/sh\n[ "$1" = +%s ] && { cat /tmp/clock; exit; }\necho "$@" >>/tmp/set\n'
    stub += 'echo "$3" | tr -d @ >/tmp/clock\n'
    put(machine, "/usr/local/sbin/date", stub, 0o755)
    try:
        put(machine, "/tmp/clock", "1000000\n")  # January 1970, as with a dead battery
        assert machine.apply(role("time", "clock"), {})["changed"] == 1
        assert (machine.root / "tmp/set").read_text().startswith("-u -s @1")
        assert machine.apply(role("time", "clock"), {})["changed"] == 0
        put(machine, "/tmp/clock", "9999999999\n")  # and one in the future
        assert machine.apply(role("time", "clock"), {})["changed"] == 1
    finally:
        (machine.root / "usr/local/sbin/date").unlink()


def test_the_clock_is_set_before_packages_are_fetched() -> None:
    for name in ("configure_management.yml", "configure_services.yml"):
        text = (ROOT / "playbooks" / name).read_text()
        assert text.index("tasks_from: clock") < text.index("role: base") < text.index("role: time")


def test_what_an_account_puts_in_the_place_of_its_keys_gives_it_nothing_of_roots(machine: RoleMachine) -> None:
    account = {"name": "ann", "uid": 7007, "authorized_keys": ["ssh-ed25519 AAAA ann", "ssh-ed25519 BBBB ann"]}
    variables = {"base_accounts": [account]}
    assert machine.apply(role("base", "accounts"), variables)["changed"] > 0
    assert machine.apply(role("base", "accounts"), variables)["changed"] == 0
    look = ["stat", "-c", "%U:%G %a", "/home/ann/.ssh", "/home/ann/.ssh/authorized_keys"]
    assert machine.run(*look).stdout.splitlines() == ["ann:ann 700", "ann:ann 600"]
    keys = "/home/ann/.ssh/authorized_keys"
    assert machine.run("cat", keys).stdout == "ssh-ed25519 AAAA ann\nssh-ed25519 BBBB ann\n"
    before = machine.run("stat", "-c", "%U:%G %a", "/etc", "/etc/passwd").stdout
    machine.run("sh", "-c", f"rm {keys} && ln -s /etc/passwd {keys}")
    assert machine.apply(role("base", "accounts"), variables)["changed"] > 0
    assert machine.run("stat", "-c", "%F %U", keys).stdout == "regular file ann\n"
    machine.run("sh", "-c", "rm -r /home/ann/.ssh && ln -s /etc /home/ann/.ssh")
    machine.show(role("base", "accounts"), variables)  # fails for that account, as it may not write there
    assert machine.run("stat", "-c", "%U:%G %a", "/etc", "/etc/passwd").stdout == before
    assert not (machine.root / "etc/authorized_keys").exists()


def test_powerman_is_for_root_alone_and_no_daemon_is_left_on_loopback(machine: RoleMachine) -> None:
    site = 'include "/etc/powerman/powerman.dev"\nlisten "127.0.0.1:{}"\n'
    site += 'device "d" "powerman" "127.0.0.1:1"\nnode "n[0-3]" "d"\n'
    put(machine, "/tmp/site.conf", site.format(10199))
    machine.run("sh", "-c", "mkdir -p /run/powerman && chown powerman /run/powerman")
    # Under another name, so that the init script doesn't take it for its own.
    machine.run(
        "sh", "-c", "cp /usr/sbin/powermand /tmp/site; /tmp/site --foreground -c /tmp/site.conf >/dev/null 2>&1 &"
    )
    wait = "for i in $(seq 100); do /usr/bin/powerman -h 127.0.0.1:{} -l && exit 0; sleep 0.1; done; exit 1"
    machine.run("sh", "-c", wait.format(10199))
    put(machine, "/etc/powerman/powerman.conf", "# Ansible managed\n" + site.format(10101))  # of an earlier version
    machine.run("/etc/init.d/powerman", "start")
    machine.run("sh", "-c", wait.format(10101))
    assert "n[0-3]" in machine.run("/usr/bin/powerman", "-l", user="nobody").stdout, "what any user could do"
    variables = {"powerman_server": "127.0.0.1", "powerman_port": 10199}
    assert machine.apply(role("powerman"), variables)["changed"] > 0
    assert machine.apply(role("powerman"), variables)["changed"] == 0
    assert "n[0-3]" in machine.run("powerman", "-l").stdout
    for command in ("powerman", "/usr/local/sbin/powerman", "/usr/bin/powerman", "pm"):
        refused = machine.run(command, "-q", check=False, user="nobody")
        assert refused.returncode != 0
        assert "n[0-3]" not in refused.stdout + refused.stderr
    assert not (machine.root / "etc/powerman/powerman.conf").exists()


SLURM = {
    "slurm_cluster_name": "suffix",
    "slurm_control_host": "oxygen1",
    "slurm_control_address": "127.0.0.1",
    "slurm_nodes": "n[1-2]",
    "slurm_cgroup_plugin": "disabled",
    "slurm_process_tracking": "proctrack/linuxproc",
    "slurm_task_plugin": "task/none",
}


def test_state_of_our_earlier_cluster_is_moved_away_and_that_of_others_is_refused(machine: RoleMachine) -> None:
    put(machine, "/var/spool/slurmctld/clustername", "swap\n")
    put(machine, "/var/spool/slurmctld/job_state", "jobs of swap")
    put(machine, "/etc/slurm/slurm.conf", "ClusterName=swap\n")
    output = machine.show(role("slurm", "earlier"), SLURM)
    assert "has the state of cluster swap, which Bessemer did not make" in output
    assert (machine.root / "var/spool/slurmctld/job_state").exists()
    put(machine, "/etc/slurm/slurm.conf", "# Ansible managed\nClusterName=swap\n")
    assert machine.apply(role("slurm", "earlier"), SLURM)["changed"] > 0
    aside = list((machine.root / "var/spool").glob("slurmctld-of-swap-*"))
    assert [(folder / "job_state").read_text() for folder in aside] == ["jobs of swap"]
    assert not (machine.root / "var/spool/slurmctld").exists()
    assert machine.apply(role("slurm", "earlier"), SLURM)["changed"] == 0
    put(machine, "/var/spool/slurmctld/clustername", "suffix\n")
    assert machine.apply(role("slurm", "earlier"), SLURM)["changed"] == 0


@pytest.mark.parametrize(
    ("cluster", "nodes", "said"),
    [("suffix", "x[1-2]a", "x[1-2]a"), ("swap", "n[1-2]", "CLUSTER NAME MISMATCH")],
)
def test_what_ended_slurmctld_is_told_from_its_log(machine: RoleMachine, cluster: str, nodes: str, said: str) -> None:
    machine.run("sh", "-c", "rm -rf /var/log/slurm /var/spool/slurmctld; mkdir -p /var/log/slurm /var/spool/slurmctld")
    put(machine, "/var/spool/slurmctld/clustername", cluster)
    put(
        machine,
        "/etc/slurm/slurm.conf",
        "ClusterName=suffix\nSlurmctldHost=oxygen1(127.0.0.1)\nSlurmUser=root\nAuthType=auth/munge\n"
        "StateSaveLocation=/var/spool/slurmctld\nSlurmctldLogFile=/var/log/slurm/slurmctld.log\n"
        "SlurmctldPidFile=/run/slurmctld.pid\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n"
        f"NodeName={nodes} State=UNKNOWN\nPartitionName=all Nodes=ALL Default=YES\n",
    )
    machine.run("slurmctld", check=False)
    machine.run("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do pidof slurmctld >/dev/null || break; sleep 1; done")
    told = ask_daemons(machine)
    assert "slurmctld does not run, its log says: " in told
    assert said in told
