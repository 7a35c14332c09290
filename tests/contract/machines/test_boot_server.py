"""Every boot server behaves alike: the fake, and bootd run by SSH on a real sshd, with its machines over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bessemer.machines.netboot.server import BootEventKind, BootServer
from bessemer.machines.netboot.ssh_server import BootEndpoint, SshBootServer
from bessemer.machines.ssh import ParamikoSsh
from tests.contract.machines.daemons import find_free_port, run_sshd
from tests.contract.machines.test_ssh import make_key
from tests.fakes.netboot import FakeBootServer

ROOT_PORTS = itertools.cycle(range(600, 1000))
"""Source ports that take root; another one each time, as the last may still be in TIME_WAIT."""


@dataclass(frozen=True)
class Setup:
    """A boot server that is prepared, and what a machine does with it."""

    server: BootServer
    url: str
    boot: Callable[[str], bool]
    """A machine boots from the network; if it gets a script, it fetches its kernel. Tells whether it did."""
    ask: Callable[[str], bool]
    """A user on a machine requests its script; returns whether there was one."""
    report: Callable[[str, BootEventKind], bool]
    """A machine's installer fetches its configuration or calls back; returns whether that was accepted."""

    def stage(self, host: str = "oxygen2", number: int = 2, **changes: Any) -> None:
        entry = {
            "build": "uid-1",
            "host": host,
            "mac": f"52:54:00:8d:00:{number:02x}",
            "address": "127.0.0.1",
            "attempt": "d-1-1",
            "token": f"token-of-{host}-{changes.get('attempt', 'first')}",
            "persistent": False,
            "armed": True,
            "boot_events": True,
            "server": self.url,
            "kernel": "/proc/version",
            "initrds": [],
            "arguments": [],
            "parameters": {"METHOD": "DiskImage"},
            "files": [],
            "script": None,
            **changes,
        }
        self.server.stage([entry])

    def kinds(self, since: int = 0) -> list[BootEventKind]:
        return [event.kind for event in self.server.list_events("uid-1", since)]


def fetch(url: str, data: bytes | None = None, port: int = 0) -> tuple[int, str]:
    """Ask from a port; 0 is any that takes no root."""
    where = urlsplit(url)
    assert where.hostname
    connection = http.client.HTTPConnection(where.hostname, where.port, 20, ("127.0.0.1", port))
    with contextlib.closing(connection):
        connection.request("GET" if data is None else "POST", where.path, data)
        answer = connection.getresponse()
        return answer.status, answer.read().decode() if answer.status == 200 else ""


class Machines:
    """Machines that talk HTTP to a boot daemon."""

    def __init__(self, url: str, state: Path) -> None:
        self.url, self.state = url, state
        self.nodes: dict[str, str] = {}

    def boot(self, host: str) -> bool:
        (self.state / "boots" / self.mac(host)).touch()  # what role boot_server has DHCP do
        return self.ask(host) and fetch(f"{self.nodes[host]}/kernel")[0] == 200

    def ask(self, host: str) -> bool:
        status, script = fetch(f"{self.url}/boot/{self.mac(host)}.ipxe")
        if status == 200:
            self.nodes[host] = script.split("bessemer.node=")[1].split()[0]
        return status == 200

    def report(self, host: str, kind: BootEventKind) -> bool:
        data = None if kind is BootEventKind.CONFIG else b"log"
        assert fetch(f"{self.nodes[host]}/{kind}", data)[0] in (403, 410), "that takes root"
        return fetch(f"{self.nodes[host]}/{kind}", data, next(ROOT_PORTS))[0] == 200

    @staticmethod
    def mac(host: str) -> str:
        return f"52-54-00-8d-00-{int(host.removeprefix('oxygen')):02x}"


@pytest.fixture(params=["fake", "bootd"])
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setup]:
    if request.param == "fake":
        fake = FakeBootServer()
        fake.prepare()
        yield Setup(fake, "http://fake", fake.boot, fake.ask, fake.report)
        return
    host_key, login, port = make_key(), make_key(), find_free_port()
    installer = tmp_path / "installer.cpio.gz"
    installer.write_bytes(b"\x1f\x8b" * 1_000_000)
    with run_sshd(tmp_path / "sshd", host_key, login.public) as sshd:
        ssh = ParamikoSsh(login.private)
        endpoint = BootEndpoint(sshd.target(), "127.0.0.1", port, base_directory=str(tmp_path / "base"))
        server = SshBootServer(ssh, endpoint, installer)
        server.prepare()
        assert Path(server.installer).read_bytes() == installer.read_bytes()
        machines = Machines(f"http://127.0.0.1:{port}", tmp_path / "base/bootd")
        yield Setup(server, machines.url, machines.boot, machines.ask, machines.report)
        server.withdraw("uid-1")
        server.withdraw("uid-2")
        server.release()
        ssh.close()
        assert not (tmp_path / "base").exists()


def test_a_machine_installs_itself_once(setup: Setup) -> None:
    assert not setup.boot("oxygen2")
    setup.stage()
    assert setup.boot("oxygen2")
    for kind in (BootEventKind.STARTED, BootEventKind.CONFIG, BootEventKind.FINISHED):
        assert setup.report("oxygen2", kind)
        assert not setup.boot("oxygen2")
    kinds = [kind for kind in setup.kinds() if kind is not BootEventKind.REFUSED]
    assert kinds == [
        BootEventKind.STAGED,
        BootEventKind.SCRIPT,
        BootEventKind.KERNEL,
        BootEventKind.STARTED,
        BootEventKind.CONFIG,
        BootEventKind.FINISHED,
    ]


def test_a_machine_that_got_no_initial_ram_disk_tries_again_and_not_for_ever(setup: Setup) -> None:
    setup.stage()
    assert [setup.boot("oxygen2") for _ in range(7)] == [True] * 5 + [False] * 2
    setup.stage(attempt="d-1-2")
    assert setup.boot("oxygen2")


def test_what_is_replayed_is_refused_and_written_down(setup: Setup) -> None:
    setup.stage()
    setup.boot("oxygen2")
    assert setup.report("oxygen2", BootEventKind.CONFIG)
    assert not setup.report("oxygen2", BootEventKind.CONFIG)
    assert setup.report("oxygen2", BootEventKind.FAILED)
    assert not setup.report("oxygen2", BootEventKind.FINISHED)
    assert setup.kinds().count(BootEventKind.REFUSED) >= 2


def test_events_are_read_on_from_where_one_was(setup: Setup) -> None:
    setup.stage(attempt="d-1-7")
    (first,) = setup.server.list_events("uid-1", 0)
    assert (first.host, first.attempt) == ("oxygen2", "d-1-7")
    setup.boot("oxygen2")
    assert setup.kinds(first.sequence) == [BootEventKind.SCRIPT, BootEventKind.KERNEL]
    assert setup.server.list_events("uid-2", 0) == []


def test_staging_again_is_a_new_attempt(setup: Setup) -> None:
    setup.stage()
    setup.boot("oxygen2")
    setup.stage(attempt="d-1-2")
    assert setup.boot("oxygen2")
    assert setup.server.list_events("uid-1", 0)[-1].attempt == "d-1-2"


def test_what_is_restored_for_a_machine_that_runs_begins_nothing(setup: Setup) -> None:
    setup.stage(persistent=True, armed=False)
    assert setup.kinds() == [BootEventKind.RESTORED]


def test_a_stateless_machine_boots_from_the_network_each_time(setup: Setup) -> None:
    setup.stage(persistent=True)
    for _ in range(2):
        assert setup.boot("oxygen2")
        assert setup.report("oxygen2", BootEventKind.CONFIG)
        assert setup.report("oxygen2", BootEventKind.FINISHED)


def test_asking_for_a_script_renews_no_grant(setup: Setup) -> None:
    setup.stage(persistent=True)
    assert setup.boot("oxygen2")
    assert setup.report("oxygen2", BootEventKind.CONFIG)
    assert not setup.ask("oxygen2")
    assert not setup.report("oxygen2", BootEventKind.CONFIG)
    assert setup.boot("oxygen2")


def test_withdrawing_takes_just_what_is_named(setup: Setup) -> None:
    setup.stage("oxygen2", 2)
    setup.stage("oxygen3", 3, persistent=True)
    setup.stage("oxygen4", 4)
    setup.stage("oxygen5", 5, build="uid-2")
    assert setup.server.withdraw("uid-1", ["oxygen4"]).hosts == ("oxygen4",)
    assert setup.server.withdraw("uid-1", keep_persistent=["oxygen2", "oxygen3"]).hosts == ("oxygen2",)
    assert not setup.boot("oxygen2")
    assert setup.boot("oxygen3")
    withdrawn = setup.server.withdraw("uid-1")
    assert (withdrawn.hosts, withdrawn.left) == (("oxygen3",), 1)
    setup.server.release()
    assert setup.boot("oxygen5")


def test_preparing_again_changes_nothing(setup: Setup) -> None:
    setup.stage()
    setup.server.prepare()
    assert setup.boot("oxygen2")
