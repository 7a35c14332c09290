"""Each role alone, on a machine that no other role has touched: applied twice, and the second run changes nothing.

Its packages are installed by the role itself, from archives. Role boot_server is in test_boot_server_role.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.machines.role_machine import GATHER, RoleMachine, prepare_packages, run_role_machine
from tests.support.checkout import ROOT

ROLES = ROOT / "playbooks/roles"
PACKAGES = (
    *("chrony", "ifupdown", "munge", "nfs-common", "nfs-kernel-server", "openssh-server", "powerman"),
    *("slurm-client", "slurmctld", "slurmd", "sshfs"),
)
INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install --no-install-recommends --no-download -qq -y"
START_MUNGE = f"""
ip link add eth1 type bridge && ip address add 10.141.0.1/16 dev eth1 && ip link set eth1 up
echo 10.141.0.1 oxygen1 >>/etc/hosts
{INSTALL} munge
head -c 64 /dev/zero | tr '\\0' k >/etc/munge/munge.key
chown munge:munge /etc/munge/munge.key && chmod 0400 /etc/munge/munge.key && service munge start
"""
START_SSHD = f"""
useradd --create-home --uid 7008 carl
{INSTALL} openssh-server
mkdir -p /run/sshd && ssh-keygen -A && service ssh start
"""
NO_NFS_SERVER = """
cat >/etc/init.d/nfs-kernel-server <<'END'
#!/bin/sh
### BEGIN INIT INFO
# Provides: nfs-kernel-server
# Required-Start:
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
case $1 in
  start) touch /run/nfsd ;;
  stop) rm -f /run/nfsd ;;
  status) test -e /run/nfsd || exit 3 ;;
esac
END
chmod +x /etc/init.d/nfs-kernel-server
"""
"""The part of NFS that a kernel may lack: a service that starts no kernel threads."""
NO_NFS_CLIENT = """
dpkg-divert --quiet --local --no-rename --divert /sbin/mount.nfs.real --add /sbin/mount.nfs
cat >/sbin/mount.nfs <<'END'
#!/bin/sh
echo "$@" >>/tmp/mounted
exec mount --internal-only -t tmpfs "$1" "$2"
END
cat >/usr/local/sbin/findmnt <<'END'
#!/bin/sh
[ "$*" = "--noheadings --types nfs,nfs4 /home" ] || exit 2
exec /usr/bin/findmnt --noheadings --types tmpfs /home
END
chmod +x /sbin/mount.nfs /usr/local/sbin/findmnt
"""
"""The part of NFS that a kernel may lack: the helper of mount(8) notes what it is asked for and mounts a tmpfs."""


@dataclass(frozen=True)
class Scenario:
    """A role as it is used alone."""

    role: str
    variables: dict[str, Any]
    check: str
    """A command that succeeds once the role was applied."""
    entry_points: tuple[str, ...] = ("main",)
    prepare: str = "true"
    """A command before it."""
    files: dict[str, bytes] = field(default_factory=dict)


SCENARIOS = (
    Scenario(
        "base",
        {
            "base_hosts": [{"name": "oxygen2", "address": "10.141.0.2"}],
            "base_accounts": [{"name": "bob", "uid": 7008}],
            "base_packages": ["powerman"],
        },
        "getent hosts oxygen2 | grep -q '^10.141.0.2 ' && test $(id -u bob) = 7008 && dpkg --status powerman",
    ),
    Scenario(
        "cluster_network",
        {"cluster_network_address": "10.141.0.1/16", "cluster_network_interface": "eth7"},
        "ip -4 address show dev eth7 | grep -q ' 10.141.0.1/16 ' && ifquery --state eth7",
        prepare=f"{INSTALL} ifupdown && ip link add eth7 type bridge",
    ),
    Scenario(
        "munge",
        {"munge_key_file": "/tmp/munge.key"},
        "munge -n | unmunge && test $(stat -c %U:%u:%a /etc/munge/munge.key) = munge:777:400",
        prepare="dpkg --purge --force-depends munge && if id munge; then userdel munge; fi",
        files={"/tmp/munge.key": b"k" * 64},
    ),
    Scenario(
        "nfs",
        {"nfs_server": "oxygen1", "nfs_network": "10.141.0.0/16"},
        "exportfs -s | grep '^/home *10.141.0.0/16(.*rw,' && "
        "grep -qx 'oxygen1:/home /home -o rw,hard,_netdev' /tmp/mounted",
        ("server", "client"),
        NO_NFS_SERVER + NO_NFS_CLIENT,
    ),
    Scenario(
        "powerman",
        {"powerman_server": "power.example"},
        "test $(stat -c %U:%a /usr/local/sbin/powerman) = root:700 && ! powerman -q 2>/tmp/said; "
        "grep power.example /tmp/said",
    ),
    Scenario(
        "slurm",
        {
            "slurm_cluster_name": "alone",
            "slurm_control_host": "oxygen1",
            "slurm_control_address": "10.141.0.1",
            "slurm_nodes": "oxygen1",
            "slurm_cgroup_plugin": "cgroup/v1",
            "slurm_cgroup_automount": False,
            "slurm_process_tracking": "proctrack/linuxproc",
            "slurm_task_plugin": "task/none",
            "slurm_conf": {"MaxJobCount": 4321},
            "slurm_ready_nodes": "oxygen1",
        },
        "scontrol show config | grep -E '^MaxJobCount += 4321$' && srun --immediate=60 hostname | grep -x oxygen1",
        ("hardware", "controller", "compute", "state"),
        START_MUNGE,
    ),
    Scenario(
        "time",
        {"time_chrony_options": "-x", "time_chrony_conf": {"maxdistance": 7}},
        "chronyc tracking && grep -qx 'maxdistance 7' /etc/chrony/chrony.conf",
        ("clock", "main"),
    ),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleMachine]:
    """A machine that no role is applied to: the files of those that are."""
    directory = tmp_path_factory.mktemp("base")
    with run_role_machine(directory) as made:
        prepare_packages(made, PACKAGES, directory / "packages")
        yield made


def include(role: str, *entry_points: str) -> list[dict[str, Any]]:
    """Tasks that apply a role; what an entry point has left as a fact on the machine is read before the next."""
    tasks: list[dict[str, Any]] = []
    for point in entry_points:
        tasks += [{"ansible.builtin.include_role": {"name": role, "tasks_from": point}}, GATHER]
    return tasks[:-1]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"{scenario.role}-{scenario.entry_points[-1]}")
def test_a_role_works_alone_and_its_second_run_changes_nothing(
    base: RoleMachine, tmp_path: Path, scenario: Scenario
) -> None:
    with run_role_machine(tmp_path, base=base) as machine:
        for path, content in scenario.files.items():
            (machine.root / path.lstrip("/")).write_bytes(content)
        machine.run("bash", "-euc", scenario.prepare)
        first, second = machine.apply_twice(include(scenario.role, *scenario.entry_points), scenario.variables)
        machine.run("bash", "-euc", scenario.check)
        assert first > 0
        assert second == 0


def test_homes_are_shared_between_two_machines_by_sshfs_alone(base: RoleMachine, tmp_path: Path) -> None:
    with (
        run_role_machine(tmp_path / "server", base=base) as server,
        run_role_machine(tmp_path / "client", base=base, name="oxygen2") as client,
    ):
        server.run("bash", "-euc", START_SSHD)
        server.run("runuser", "-u", "carl", "--", "sh", "-c", "echo results >/home/carl/shared && chmod 700 /home/carl")
        client.run("bash", "-euc", "useradd --no-create-home --uid 7008 carl; echo 10.141.0.1 oxygen1 >>/etc/hosts")
        connect(server, client)
        server.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/tmp/homes_key")
        variables = {
            "sshfs_server": "oxygen1",
            "sshfs_network": "10.141.0.0/16",
            "sshfs_key_file": "/tmp/homes_key",
            "sshfs_public_key": read_key(server, "/tmp/homes_key.pub"),
            "sshfs_host_key": read_key(server, "/etc/ssh/ssh_host_ed25519_key.pub"),
        }
        (client.root / "tmp/homes_key").write_bytes((server.root / "tmp/homes_key").read_bytes())
        assert server.apply_twice(include("sshfs", "server"), variables)[1] == 0
        first, second = client.apply_twice(include("sshfs", "client"), variables, others=("oxygen1",))
        assert client.run("runuser", "-u", "carl", "--", "cat", "/home/carl/shared").stdout == "results\n"
        assert first > 0
        assert second == 0


def connect(server: RoleMachine, client: RoleMachine) -> None:
    """Join two machines by a wire: addresses .1 and .2 of 10.141.0.0/16."""
    server.run("ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1")
    server.run_outside("ip", "link", "set", "wire1", "netns", str(client.pid))
    for machine, name, number in ((server, "wire0", 1), (client, "wire1", 2)):
        machine.run("ip", "address", "add", f"10.141.0.{number}/16", "dev", name)
        machine.run("ip", "link", "set", name, "up")


def read_key(machine: RoleMachine, path: str) -> str:
    """Return the type and the key of a public key file, without its comment."""
    return " ".join((machine.root / path.lstrip("/")).read_text().split()[:2])


WRONG = {"bool": "perhaps", "dict": "not a dict", "int": "many", "list": {"not": "a list"}}
"""A value for each type of option that takes not every value."""


def list_arguments() -> list[tuple[str, str, dict[str, Any], set[str]]]:
    """Return each role and entry point with values of its options that are all refused, and its required options."""
    found = []
    for file in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        for point, spec in yaml.safe_load(file.read_text())["argument_specs"].items():
            options = spec["options"]
            values = {name: WRONG[option["type"]] for name, option in options.items() if option["type"] in WRONG}
            values |= {name: "none of them" for name, option in options.items() if "choices" in option}
            required = {name for name, option in options.items() if option.get("required")} - set(values)
            found.append((file.parents[1].name, point, values, required))
    return found


def test_a_role_refuses_arguments_that_its_specification_excludes(base: RoleMachine, tmp_path: Path) -> None:
    arguments = list_arguments()
    say = "{{ refused | default([]) + [ansible_failed_result.argument_errors | default([]) | join(' ')] }}"
    tasks: list[dict[str, Any]] = [
        {
            "block": [{"ansible.builtin.include_role": {"name": role, "tasks_from": point}, "vars": values}],
            "rescue": [{"ansible.builtin.set_fact": {"refused": say}}],
        }
        for role, point, values, _ in arguments
    ]
    tasks.append({"ansible.builtin.copy": {"content": "{{ refused | to_json }}", "dest": "/tmp/refused"}})
    with run_role_machine(tmp_path, base=base) as machine:
        machine.apply(tasks, {})
        refused = json.loads((machine.root / "tmp/refused").read_text())
    not_refused = [
        (role, point, name, said)
        for (role, point, values, required), said in zip(arguments, refused, strict=True)
        for name in sorted({*values, *required})
        if name not in said
    ]
    assert not_refused == []
    assert {role for role, *_ in arguments} == {path.name for path in ROLES.iterdir()}
