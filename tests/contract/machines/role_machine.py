"""Throw-away machines that roles run on: the files of this machine below a layer that is discarded, in namespaces.

Each has an init process (a shell, which reaps orphans), a network and the packages of this machine; further Debian
packages are downloaded outside, as a machine has no way to the Internet. Services are started by their init scripts.
Ansible runs inside, with a local connection.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bessemer.machines.ansible_inventory import render_inventory
from tests.support.checkout import ROOT

START_SECONDS = 20.0
RUN_SECONDS = 600.0
ARCHIVES = "/var/cache/apt/archives"
"""Where apt of a machine finds downloaded packages."""
_SETUP = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$4/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t sysfs sysfs "$1/root/sys"
mount -t tmpfs tmpfs "$1/root/run"
mkdir "$1/root/run/lock"
mount -t tmpfs tmpfs "$1/root/tmp"
for shown in "$2" "$3"; do mkdir -p "$1/root$shown"; mount --bind "$shown" "$1/root$shown"; done
cp /bin/bash "$1/root/run/init"
ip link set lo up
touch "$1/root/run/up"
exec chroot "$1/root" /run/init -c "while :; do sleep 1; done"
"""
"""Arguments: folder of the layers, the checkout, a folder that is shown, and layers below, each followed by a colon."""


GATHER: dict[str, Any] = {"ansible.builtin.setup": {"gather_subset": ["!all"]}}
"""A task that reads the facts that our playbooks read."""


@dataclass(frozen=True)
class RoleMachine:
    """A machine; its processes end with the block that made it."""

    pid: int
    """Of its init process, as seen from here."""
    name: str = "oxygen1"
    layers: Path = Path("/")
    """Folder with the layer of its own files, as seen in its mount namespace."""

    @property
    def root(self) -> Path:
        """Its root folder as seen from here."""
        return Path(f"/proc/{self.pid}/root")

    def run(self, *command: str, check: bool = True, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command on it."""
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--uts", "--root"]
        become = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups"] if user else []
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            [*enter, "env", "--chdir=/", *become, *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            env={**environment, "HOME": "/root", "ANSIBLE_CONFIG": str(ROOT / "playbooks/ansible.cfg")},
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def run_outside(self, *command: str) -> None:
        """Run a program of this machine in its network, where process IDs are those seen from here."""
        subprocess.run(["nsenter", "--target", str(self.pid), "--net", *command], check=True, timeout=RUN_SECONDS)

    def show(self, tasks: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
        """Run tasks on it; returns what Ansible printed."""
        return self._run_plays([{"tasks": list(tasks)}], variables)

    def apply(self, tasks: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> Mapping[str, int]:
        """Run tasks on it, none of which may fail; returns how many changed it and so on."""
        return count_tasks(self.show(tasks, variables))

    def apply_twice(
        self, tasks: Sequence[Mapping[str, Any]], variables: Mapping[str, Any], others: Sequence[str] = ()
    ) -> tuple[int, int]:
        """Run tasks on it twice, none of which may fail; returns how many changed it the first and the second time.

        Both are plays of one Ansible, as starting it takes longer than most roles; facts are gathered again.

        Args:
            tasks: the tasks.
            variables: variables of all hosts.
            others: further hosts of the inventory; a task that is delegated to one of them runs on this machine.

        """
        forget = {"ansible.builtin.meta": "clear_facts"}
        again = {"gather_facts": False, "pre_tasks": [forget, GATHER], "tasks": list(tasks)}
        output = self._run_plays([{"tasks": list(tasks)}, again], variables, others)
        count_tasks(output)
        first, _, second = output.rpartition("PLAY [")
        return count_changes(first), count_changes(second)

    def _run_plays(
        self, plays: Sequence[Mapping[str, Any]], variables: Mapping[str, Any], others: Sequence[str] = ()
    ) -> str:
        common = {"hosts": self.name, "gather_facts": True, "gather_subset": ["!all"]}
        host = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
        groups: Mapping[str, Any] = {"compute": {"hosts": {self.name: {}}}}
        (self.root / "tmp/plays.yml").write_text(yaml.safe_dump([{**common, **play} for play in plays]))
        hosts = dict.fromkeys((self.name, *others), host)
        inventory = {"all": {"hosts": hosts, "children": groups, "vars": dict(variables)}}
        return self._run_ansible("/tmp/plays.yml", inventory)

    def run_playbook(self, playbook: str, inventory: Mapping[str, Any]) -> Mapping[str, int]:
        """Run a playbook with an inventory, in the same way."""
        return count_tasks(self._run_ansible(playbook, inventory))

    def _run_ansible(self, playbook: str, inventory: Mapping[str, Any]) -> str:
        (self.root / "tmp/hosts.yml").write_text(render_inventory(inventory))
        program = str(Path(sys.executable).parent / "ansible-playbook")
        ansible = ("env", "--chdir=/tmp", "ANSIBLE_NOCOLOR=1", program, "-i", "/tmp/hosts.yml", playbook)
        done = self.run(*ansible, check=False)
        assert "PLAY RECAP" in done.stdout, done.stdout + done.stderr
        return done.stdout


def count_tasks(output: str) -> Mapping[str, int]:
    """Read the numbers of tasks from the end of what Ansible printed of one host; none may have failed."""
    words = (word.partition("=") for word in output.rpartition("PLAY RECAP")[2].split())
    counts = {key: int(value) for key, _, value in words if value.isdigit()}
    assert counts["failed"] == 0, output
    return counts


def count_changes(output: str) -> int:
    """Count the results in what Ansible printed that changed a machine."""
    return sum(line.startswith("changed: [") for line in output.splitlines())


def download_packages(packages: Sequence[str], directory: Path) -> None:
    """Download Debian packages, and what they depend on as far as this machine lacks it, to a folder.

    The packages themselves are downloaded even where this machine has them: on another one they may be removed first.
    """
    (directory / "partial").mkdir(parents=True, exist_ok=True)
    # Nothing is installed here, so no lock is needed; another test may hold it.
    options = [
        "-o",
        f"Dir::Cache::archives={directory}",
        "-o",
        "APT::Sandbox::User=root",
        "-o",
        "Debug::NoLocking=true",
    ]
    install = ["apt-get", "install", "--reinstall", "--download-only", "--no-install-recommends", "-qq", "-y"]
    command = [*install, *options, *packages]
    if subprocess.run(command, check=False, capture_output=True, timeout=RUN_SECONDS).returncode != 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=RUN_SECONDS)
        subprocess.run(command, check=True, timeout=RUN_SECONDS)


def prepare_packages(machine: RoleMachine, packages: Sequence[str], directory: Path) -> None:
    """Download Debian packages, so that apt of a machine finds them."""
    download_packages(packages, directory)
    # Debian's images for containers delete archives and apt's index once a package has been installed.
    machine.run("rm", "-f", "/etc/apt/apt.conf.d/docker-clean")
    (machine.root / "etc/apt/apt.conf.d/90test").write_text('APT::Install-Recommends "false";\n')
    machine.run("apt-cache", "gencaches")
    machine.run("sh", "-c", f"mkdir -p {ARCHIVES}/partial && cp {directory}/*.deb {ARCHIVES}")
    # Services are started by roles, not by packages.
    deny = "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d"
    machine.run("sh", "-c", deny)


def install_packages(machine: RoleMachine, packages: Sequence[str]) -> None:
    """Install Debian packages on a machine where they have been prepared."""
    install = ["apt-get", "install", "--no-install-recommends", "--no-download", "-qq", "-y"]
    machine.run("env", "DEBIAN_FRONTEND=noninteractive", *install, "-o", "Dpkg::Options::=--force-confold", *packages)


@contextlib.contextmanager
def run_role_machine(
    directory: Path, packages: Sequence[str] = (), *, name: str = "oxygen1", base: RoleMachine | None = None
) -> Iterator[RoleMachine]:
    """Run a machine that has some packages beyond those of this one, and the files of a base as they are now."""
    layers = directory / "layers"
    layers.mkdir(parents=True, exist_ok=True)
    enter = ["nsenter", "--target", str(base.pid), "--mount"] if base else []
    below = f"{base.layers}/upper:" if base else ""
    # It ends with its first process, and that with the test, however the test ends.
    unshare = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--uts",
        "--fork",
        "--kill-child",
    ]
    command = [*enter, *unshare, "sh", "-c", _SETUP, "sh", str(layers), str(ROOT), str(directory), below]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        machine = RoleMachine(wait_for_init(process), name, layers)
        machine.run("hostname", machine.name)
        # No systemd runs here, so Ansible must not find its programs.
        machine.run("rm", "-f", "/usr/bin/systemctl", "/usr/sbin/init", "/usr/sbin/policy-rc.d")
        if packages:
            prepare_packages(machine, packages, directory / "packages")
            install_packages(machine, packages)
        yield machine
    finally:
        process.kill()
        process.wait(10)
        if process.stderr:
            process.stderr.close()


def wait_for_init(process: subprocess.Popen[str]) -> int:
    """Wait until a machine runs; returns the process ID of its init process."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if (
            children
            and Path(f"/proc/{children[0]}/root/run/up").exists()
            and Path(f"/proc/{children[0]}/comm").read_text() == "init\n"
        ):
            return int(children[0])
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline, "the machine doesn't start"
        time.sleep(0.05)
