"""A real Slurm for the contract tests: controller, munge and two nodes on the management machine of a rack.

The packages come from the rack's own mirror. The nodes are two daemons on one machine, each with its own port, and
SSH reaches them through the management node as it reaches compute nodes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bessemer.machines.machine import SshTarget
from bessemer.machines.slurm import SshSlurm
from bessemer.machines.ssh import ParamikoSsh, SshUnreachable
from rack.ports import BOOT_HOST_PORT, MANAGEMENT_PORT
from rack.standalone import Standalone, find_free_index, run_standalone

HOSTS = ("oxygen2", "oxygen3")
BOOT_SECONDS = 60
"""From the rack's start to SSH of its management machine; 1 s on an idle machine."""
IDLE_SECONDS = 60
"""For daemons to register, and for jobs that were cancelled to end; half a second on an idle machine."""
INSTALL = """set -e
echo 'deb [trusted=yes] http://10.77.0.1/debian ./' > /etc/apt/sources.list
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge
mkdir -p /var/log/slurm /var/spool/slurmctld
chown slurm /var/spool/slurmctld
cat > /etc/slurm/slurm.conf
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  printf 'CgroupPlugin=cgroup/v2\\nIgnoreSystemd=yes\\n' > /etc/slurm/cgroup.conf
else
  printf 'CgroupPlugin=cgroup/v1\\nCgroupAutomount=no\\n' > /etc/slurm/cgroup.conf
fi
"""
CLEAR = """scancel --quiet --user=root
for node in $(sinfo --noheader --Node --states=drain,down --format=%N); do
  scontrol update NodeName=$node State=RESUME
done
sinfo --noheader --Node --format=%T
"""
# Source: https://slurm.schedmd.com/slurm.conf.html
CONFIGURATION = """ClusterName=contract
SlurmctldHost=oxygen1(127.0.0.1)
SlurmUser=slurm
AuthType=auth/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd-%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd-%n.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
MessageTimeout=10
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
SlurmdParameters=config_overrides
NodeName=oxygen[2-3] NodeHostname=oxygen1 NodeAddr=127.0.0.1 Port=[17002-17003] CPUs=1 RealMemory=100 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""


@dataclass(frozen=True)
class SlurmCluster:
    """A running Slurm, and the way to it."""

    ssh: ParamikoSsh
    management: SshTarget
    boot_host: SshTarget
    """A machine without Slurm."""

    def client(self) -> SshSlurm:
        """Return the client to it."""
        key = self.management.host_key
        computes = {host: SshTarget(host, "127.0.0.1", key, jump=self.management) for host in HOSTS}
        return SshSlurm(self.ssh, self.management, computes)

    def run(self, command: str, stdin: str = "") -> str:
        """Run a command on the management machine, which must succeed; returns what it prints."""
        result = self.ssh.run(self.management, command, stdin.encode())
        assert result.exit_code == 0, f"{command}: {result.stdout}{result.stderr}"
        return result.stdout

    def start(self) -> None:
        """Start the controller."""
        self.run("sed -i 's/^MessageTimeout=.*/MessageTimeout=10/' /etc/slurm/slurm.conf && service slurmctld start")

    def stop(self) -> None:
        """Stop the controller, and shorten the time for which Slurm's commands look for it."""
        self.run("service slurmctld stop && sed -i 's/^MessageTimeout=.*/MessageTimeout=1/' /etc/slurm/slurm.conf")

    def clear(self) -> None:
        """End all jobs and wait until all nodes are in service."""
        deadline = time.monotonic() + IDLE_SECONDS
        while (states := self.run(CLEAR).split()) != ["idle"] * len(HOSTS):
            assert time.monotonic() < deadline, f"{states}: {self.run('tail -n 20 /var/log/slurm/*')}"
            time.sleep(0.1)


@contextmanager
def run_slurm() -> Iterator[SlurmCluster]:
    """Run a rack with Slurm until the block ends."""
    with run_standalone(0, management_installed=True, index=find_free_index()) as rack:
        ssh = ParamikoSsh((rack.folder / "client_key").read_text())
        try:
            cluster = SlurmCluster(
                ssh, build_target(rack, "oxygen1", MANAGEMENT_PORT), build_target(rack, "boot-host", BOOT_HOST_PORT)
            )
            wait_for_ssh(cluster)
            cluster.run(INSTALL, CONFIGURATION)
            cluster.run("".join(f"slurmd -N {node};" for node in HOSTS))
            cluster.start()
            cluster.clear()
            yield cluster
        finally:
            ssh.close()


def build_target(rack: Standalone, name: str, port: int) -> SshTarget:
    """Return how SSH reaches a machine of the rack."""
    return SshTarget(name, rack.address, (rack.folder / "host_key.pub").read_text().strip(), port)


def wait_for_ssh(cluster: SlurmCluster) -> None:
    """Wait until the management machine has booted."""
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline:
        with suppress(SshUnreachable):
            cluster.ssh.probe(cluster.management, timeout_seconds=5)
            return
        time.sleep(0.1)
    raise TimeoutError(f"the management machine didn't answer within {BOOT_SECONDS} s")
