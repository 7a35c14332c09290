"""What we write as hostlists, the real readers read as the same names: scontrol, slurmctld and powermand."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from bessemer.machines.hostlists import build_powerman_hostlists, build_slurm_hostlist, parse_hostlist
from bessemer.machines.power.powerman import PROMPT, Powerman
from bessemer.machines.power.protocol import PowerState, UnknownToPowerControl
from tests.contract.machines.daemons import ensure_program, find_free_port, run_daemon, run_power_strip
from tests.unit.machines.hostnames import HOST_SETS

SITES = ["x1a,x2a", "r1n1,r2n1", "r[1-2]n[1-2]", "rack[1-2]-blade1", "n[01-10]", "n[1-2,01-02]", "1,2,3", "a-1,a-b"]
LONG = {f"host-name-that-is-nearly-as-long-as-a-name-may-ever-be-{number:06d}a" for number in range(1024)}
ONE_PROCESS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
UP_SECONDS = 20
CONFIGURATION = """ClusterName=contract
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
AuthType=auth/none
SlurmctldPort={port}
StateSaveLocation={folder}
SlurmctldPidFile={folder}/slurmctld.pid
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
MpiDefault=none
NodeName={nodes} CPUs=1 State=FUTURE
NodeName=other NodeHostname=localhost NodeAddr=127.0.0.1 CPUs=1
PartitionName=all Nodes=other Default=YES State=UP
"""


@pytest.fixture(scope="module")
def scontrol(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], list[str]]:
    """Return a function that has Slurm show hostnames or a hostlist; that takes it milliseconds, and no controller."""
    program = ensure_program("scontrol", "slurm-client")
    configuration = tmp_path_factory.mktemp("slurm") / "slurm.conf"
    configuration.write_text("ClusterName=none\nSlurmctldHost=localhost\nNodeName=none\n")
    environment = {"SLURM_CONF": str(configuration)}

    def show(what: str, hostlist: str) -> list[str]:
        command = [program, "show", what, hostlist]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()

    return show


@pytest.fixture(scope="module")
def powermand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    """A connection to a powermand that knows none of the nodes: it says how it reads those that it is asked for."""
    folder = tmp_path_factory.mktemp("powerman")
    program, port = ensure_program("powermand", "powerman"), find_free_port()
    (folder / "powerman.conf").write_text(
        f'include "/etc/powerman/powerman.dev"\nlisten "127.0.0.1:{port}"\n'
        f'device "site" "powerman" "127.0.0.1:{find_free_port()}"\nnode "Other" "site" "Other"\n'
    )
    command = [program, "--foreground", "--conf", str(folder / "powerman.conf")]
    with run_daemon(command, port, folder / "log"), socket.create_connection(("127.0.0.1", port), 10) as connection:
        read_reply(connection)
        yield connection


def read_reply(connection: socket.socket) -> str:
    received = b""
    while not received.endswith(PROMPT):
        received += connection.recv(65536)
    return received.decode()


@ONE_PROCESS
@given(hosts=HOST_SETS)
def test_slurm_reads_the_names_that_were_written(scontrol: Callable[[str, str], list[str]], hosts: set[str]) -> None:
    assert sorted(scontrol("hostnames", build_slurm_hostlist(hosts))) == sorted(hosts)


@ONE_PROCESS
@given(hosts=HOST_SETS)
def test_we_read_the_names_that_slurm_has_folded(scontrol: Callable[[str, str], list[str]], hosts: set[str]) -> None:
    [folded] = scontrol("hostlist", ",".join(sorted(hosts)))
    assert sorted(parse_hostlist(folded)) == sorted(hosts)


@ONE_PROCESS
@given(hosts=HOST_SETS)
@example(hosts={f"n{number:02d}" for number in range(9, 102)})
def test_powermand_reads_the_names_that_were_written_and_we_read_its_own(
    powermand: socket.socket, hosts: set[str]
) -> None:
    said: list[str] = []
    for hostlist in build_powerman_hostlists(hosts):
        powermand.sendall(f"status {hostlist}\r\n".encode())
        said += parse_hostlist(read_reply(powermand).partition("No such nodes: ")[2].split()[0])
    assert sorted(said) == sorted(hosts)


@pytest.mark.parametrize("hosts", [*SITES, LONG], ids=[*SITES, "long"])
def test_slurmctld_takes_the_nodes_of_a_site(hosts: str | set[str], tmp_path: Path) -> None:
    """State FUTURE has it read the names, and NodeAddr from them, without looking for addresses."""
    names = set(parse_hostlist(hosts)) if isinstance(hosts, str) else hosts
    program, port = ensure_program("slurmctld", "slurmctld"), find_free_port()
    configuration = tmp_path / "slurm.conf"
    written = build_slurm_hostlist(names)
    configuration.write_text(CONFIGURATION.format(port=port, folder=tmp_path, nodes=written))
    environment = {"SLURM_CONF": str(configuration), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    with run_daemon([program, "-D", "-c", "-f", str(configuration)], port, tmp_path / "log", environment):
        deadline = time.monotonic() + UP_SECONDS
        show = ["scontrol", "--future", "--oneliner", "show", "node", written]
        while not (shown := subprocess.run(show, env=environment, capture_output=True, text=True, check=False).stdout):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
    assert {line.split()[0].removeprefix("NodeName=") for line in shown.splitlines() if line} == names


@pytest.mark.parametrize("hosts", SITES)
def test_powermand_switches_the_machines_of_a_site(hosts: str, tmp_path: Path) -> None:
    names = parse_hostlist(hosts)
    program, port = ensure_program("powermand", "powerman"), find_free_port()
    with run_power_strip() as strip:
        (tmp_path / "powerman.conf").write_text(
            f'include "/etc/powerman/vpc.dev"\nlisten "127.0.0.1:{port}"\n'
            f'device "d0" "vpc" "127.0.0.1:{strip.server_address[1]}"\n'
            + "".join(f'node "{name}" "d0" "{plug}"\n' for plug, name in enumerate(names))
        )
        command = [program, "--foreground", "--conf", str(tmp_path / "powerman.conf")]
        with run_daemon(command, port, tmp_path / "log"):
            power = Powerman("127.0.0.1", port, deadline_seconds=15)
            assert power.on(names[1:]) == {}
            assert power.state(names) == dict.fromkeys(names, PowerState.ON) | {names[0]: PowerState.OFF}
            with pytest.raises(UnknownToPowerControl) as caught:
                power.state([*names, "r7n7", "r8n7"])
            assert caught.value.nodes == {"r7n7", "r8n7"}


def test_powermand_takes_a_configuration_with_many_long_names(tmp_path: Path) -> None:
    """As the role powerman writes it: a line for each hostlist; on one line for all, powermand would end silently."""
    program, port = ensure_program("powermand", "powerman"), find_free_port()
    lines = "".join(f'node "{names}" "site" "{names}"\n' for names in build_powerman_hostlists(LONG))
    (tmp_path / "powerman.conf").write_text(
        f'include "/etc/powerman/powerman.dev"\nlisten "127.0.0.1:{port}"\n'
        f'device "site" "powerman" "127.0.0.1:{find_free_port()}"\n{lines}'
    )
    command = [program, "--foreground", "--conf", str(tmp_path / "powerman.conf")]
    with run_daemon(command, port, tmp_path / "log"), socket.create_connection(("127.0.0.1", port), 10) as connection:
        read_reply(connection)
        connection.sendall(b"nodes\r\n")
        assert set(parse_hostlist(read_reply(connection).split()[1])) == LONG
