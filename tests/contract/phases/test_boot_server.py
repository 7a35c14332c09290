"""Every boot server behaves alike: the fake, and bootd run by SSH on a real sshd, with its machines over HTTP."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bessemer.phases.netboot.fake import FakeBootServer
from bessemer.phases.netboot.server import BootEventKind, BootServer
from bessemer.phases.netboot.ssh_server import BootEndpoint, SshBootServer
from bessemer.phases.ssh import ParamikoSsh
from tests.contract.phases.daemons import find_free_port, run_sshd
from tests.contract.phases.test_ssh import make_key


@dataclass(frozen=True)
class Setup:
    """A boot server that is prepared, and what a machine does with it."""

    server: BootServer
    url: str
    boot: Callable[[str], bool]
    """A machine asks for its script; if it gets one, it fetches its kernel. Tells whether it did."""
    report: Callable[[str, BootEventKind], bool]
    """A machine's installer fetches its configuration or calls back; tells whether that was accepted."""

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


def fetch(url: str, data: bytes | None = None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=10) as answer:  # noqa: S310  loopback
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


class Machines:
    """Machines that talk HTTP to a boot daemon."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.nodes: dict[str, str] = {}

    def boot(self, host: str) -> bool:
        number = int(host.removeprefix("oxygen"))
        status, script = fetch(f"{self.url}/boot/52-54-00-8d-00-{number:02x}.ipxe")
        if status != 200:
            return False
        self.nodes[host] = script.split("bessemer.node=")[1].split()[0]
        return fetch(f"{self.nodes[host]}/kernel")[0] == 200

    def report(self, host: str, kind: BootEventKind) -> bool:
        data = None if kind is BootEventKind.CONFIG else b"log"
        return fetch(f"{self.nodes[host]}/{kind}", data)[0] == 200


@pytest.fixture(params=["fake", "bootd"])
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setup]:
    if request.param == "fake":
        fake = FakeBootServer()
        fake.prepare()
        yield Setup(fake, "http://fake", fake.boot, fake.report)
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
        machines = Machines(f"http://127.0.0.1:{port}")
        yield Setup(server, machines.url, machines.boot, machines.report)
        server.withdraw("uid-1")
        server.withdraw("uid-2")
        server.release()
        ssh.close()
        assert not (tmp_path / "base").exists()


def test_a_machine_installs_itself_once(setup: Setup) -> None:
    assert not setup.boot("oxygen2")
    setup.stage()
    assert setup.boot("oxygen2")
    assert not setup.boot("oxygen2")
    for kind in (BootEventKind.STARTED, BootEventKind.CONFIG, BootEventKind.FINISHED):
        assert setup.report("oxygen2", kind)
    assert setup.kinds() == [
        BootEventKind.STAGED,
        BootEventKind.SCRIPT,
        BootEventKind.KERNEL,
        BootEventKind.STARTED,
        BootEventKind.CONFIG,
        BootEventKind.FINISHED,
    ]


def test_what_is_replayed_is_refused_and_written_down(setup: Setup) -> None:
    setup.stage()
    setup.boot("oxygen2")
    assert setup.report("oxygen2", BootEventKind.CONFIG)
    assert not setup.report("oxygen2", BootEventKind.CONFIG)
    assert setup.report("oxygen2", BootEventKind.FAILED)
    assert not setup.report("oxygen2", BootEventKind.FINISHED)
    assert setup.kinds().count(BootEventKind.REFUSED) == 2


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
