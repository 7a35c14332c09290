"""A throw-away machine to run our roles on: this one's files under a layer that is thrown away, in namespaces.

It has an init of its own (a shell, which buries the dead), a network of its own, and what this machine has installed;
services are started by their init scripts. Ansible runs inside it, with a local connection.
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
_SETUP = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
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


@dataclass(frozen=True)
class RoleMachine:
    """A machine; its processes end with the block that made it."""

    pid: int
    """Of its init, as seen from here."""
    name: str = "oxygen1"

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

    def show(self, tasks: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
        """Run tasks on it; returns what Ansible printed."""
        play = {"hosts": self.name, "gather_facts": True, "tasks": list(tasks)}
        host = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
        (self.root / "tmp/play.yml").write_text(yaml.safe_dump([play]))
        return self._run_ansible("/tmp/play.yml", {"all": {"hosts": {self.name: host}, "vars": dict(variables)}})

    def apply(self, tasks: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> Mapping[str, int]:
        """Run tasks on it, none of which may fail; returns how many changed it and so on."""
        return count_tasks(self.show(tasks, variables))

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


def fetch_packages(packages: Sequence[str], directory: Path) -> list[str]:
    """Download Debian packages that this machine may not have; returns the paths of their files."""
    directory.mkdir(exist_ok=True)
    command = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *packages]
    if subprocess.run(command, cwd=directory, check=False, capture_output=True, timeout=RUN_SECONDS).returncode != 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=RUN_SECONDS)
        subprocess.run(command, cwd=directory, check=True, timeout=RUN_SECONDS)
    return [str(file) for file in directory.glob("*.deb")]


@contextlib.contextmanager
def run_role_machine(directory: Path, packages: Sequence[str] = ()) -> Iterator[RoleMachine]:
    """Run a machine that has some packages beyond those of this one."""
    directory.mkdir(parents=True, exist_ok=True)
    files = fetch_packages(packages, directory / "packages") if packages else []
    layers = directory / "layers"
    layers.mkdir(exist_ok=True)
    unshare = ["unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--kill-child"]
    command = [*unshare, "sh", "-c", _SETUP, "sh", str(layers), str(ROOT), str(directory)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            if (
                children
                and Path(f"/proc/{children[0]}/root/run/up").exists()
                and Path(f"/proc/{children[0]}/comm").read_text() == "init\n"
            ):
                break
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline, "the machine doesn't start"
            time.sleep(0.05)
        machine = RoleMachine(int(children[0]))
        machine.run("hostname", machine.name)
        # No systemd runs here, so Ansible is not to find its programs; and packages are not to start services.
        machine.run("rm", "-f", "/usr/bin/systemctl", "/usr/sbin/init", "/usr/sbin/policy-rc.d")
        if files:
            machine.run(
                "sh", "-c", "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d"
            )
            machine.run("dpkg", "--force-confold", "--force-conflicts", "--force-depends", "--install", *files)
        yield machine
    finally:
        process.kill()
        process.wait(10)
        if process.stderr:
            process.stderr.close()
