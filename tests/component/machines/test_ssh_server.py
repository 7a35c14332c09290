"""A boot server run through a shell: how bootd gets there, is started, replaced, and leaves nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.foreign import Unreadable
from bessemer.machines.machine import SshTarget
from bessemer.machines.netboot import ssh_server
from bessemer.machines.netboot.server import BootEventKind, BootServerFailed
from bessemer.machines.netboot.ssh_server import BootEndpoint, SshBootServer, parse_event
from bessemer.machines.ssh import CommandResult
from tests.component.machines.boot_daemon import build_entry
from tests.unit.machines.local_ssh import LocalSsh


def find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def ssh() -> LocalSsh:
    return LocalSsh()


@pytest.fixture
def server(tmp_path: Path, ssh: LocalSsh) -> Iterator[SshBootServer]:
    installer = tmp_path / "installer.cpio.gz"
    installer.write_bytes(b"installer")
    endpoint = BootEndpoint(
        SshTarget("here", "127.0.0.1", "key"), "127.0.0.1", find_free_port(), base_directory=str(tmp_path / "base dir")
    )
    made = SshBootServer(ssh, endpoint, installer)
    yield made
    made.withdraw("uid-1")
    made.release()


def test_preparing_twice_uploads_and_starts_once(server: SshBootServer, ssh: LocalSsh, tmp_path: Path) -> None:
    server.prepare()
    status = json.loads((tmp_path / "base dir/bootd/serve.lock").read_text())
    server.prepare()
    assert len(ssh.uploads) == 2
    assert json.loads((tmp_path / "base dir/bootd/serve.lock").read_text()) == status
    assert Path(server.installer).read_bytes() == b"installer"


def test_staging_journal_and_withdrawing(server: SshBootServer) -> None:
    server.prepare()
    server.stage([])
    server.stage([build_entry("http://127.0.0.1:1")])
    (event,) = server.list_events("uid-1", 0)
    assert (event.kind, event.host, event.attempt) == (BootEventKind.STAGED, "oxygen2", "d-1-1")
    assert server.list_events("uid-1", event.sequence) == []
    assert server.list_events("uid-2", 0) == []
    assert server.withdraw("uid-1", ["oxygen2"]).hosts == ("oxygen2",)


def test_nothing_is_left_after_release(server: SshBootServer, tmp_path: Path) -> None:
    server.prepare()
    server.stage([build_entry("http://127.0.0.1:1")])
    server.release()
    assert (tmp_path / "base dir/bootd/entries").is_dir()
    server.withdraw("uid-1")
    server.release()
    assert not (tmp_path / "base dir").exists()


def test_what_another_version_staged_is_taken_back(server: SshBootServer, tmp_path: Path) -> None:
    server.prepare()
    server.stage([build_entry("http://127.0.0.1:1")])
    (daemon,) = (tmp_path / "base dir/upload").glob("bootd-*.py")
    daemon.rename(daemon.with_name("bootd-of-an-older-release.py"))
    assert server.withdraw("uid-1").hosts == ("oxygen2",)
    server.release()
    assert not (tmp_path / "base dir").exists()


def test_an_upload_that_was_cut_off_is_taken_back(server: SshBootServer, tmp_path: Path) -> None:
    (tmp_path / "base dir/upload").mkdir(parents=True)
    (tmp_path / "base dir/upload/installer-0.cpio.gz").write_bytes(b"half of")
    assert server.withdraw("uid-1").hosts == ()
    server.release()
    assert not (tmp_path / "base dir").exists()


def test_withdrawing_where_nothing_was_prepared_is_no_error(server: SshBootServer) -> None:
    assert server.withdraw("uid-1").hosts == ()
    server.release()


def test_a_daemon_of_another_version_is_replaced(server: SshBootServer, ssh: LocalSsh, tmp_path: Path) -> None:
    server.prepare()
    old = json.loads((tmp_path / "base dir/bootd/serve.lock").read_text())
    (tmp_path / "newer").write_bytes(b"newer installer")
    newer = SshBootServer(ssh, server._endpoint, tmp_path / "newer")
    newer._daemon = server._daemon + b"\n# newer\n"
    newer.prepare()
    new = json.loads((tmp_path / "base dir/bootd/serve.lock").read_text())
    assert new["version"] != old["version"]
    newer.release()


def test_a_daemon_that_cannot_listen_is_told(server: SshBootServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bessemer.machines.netboot.ssh_server.START_DEADLINE_SECONDS", 3.0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", server._endpoint.port))
        listener.listen()
        with pytest.raises(BootServerFailed, match="Address already in use"):
            server.prepare()


def test_a_command_that_fails_gives_its_last_words(server: SshBootServer) -> None:
    server.prepare()
    with pytest.raises(BootServerFailed, match="no MAC address"):
        server.stage([build_entry("http://127.0.0.1:1", mac="nonsense")])


def test_unknown_events_are_kept_as_other() -> None:
    record = {"seq": 1, "event": "compacted", "host": "a", "attempt": "1", "detail": "", "client": ""}
    assert parse_event(record).kind is BootEventKind.OTHER
    assert parse_event({**record, "event": "initrd/0"}).kind is BootEventKind.INITRD


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("seq", "event", "host", "attempt", "detail", "client"), JSON)))
def test_no_line_of_a_journal_makes_more_of_itself_than_an_event_or_an_error(record: dict[str, Any]) -> None:
    with contextlib.suppress(Unreadable):
        event = parse_event(record)
        assert event.sequence >= 1
        assert all(char.isprintable() or char == "\n" for char in event.detail + event.client)


def test_a_journal_is_read_page_by_page(server: SshBootServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bessemer.machines.netboot.ssh_server.PAGE_EVENTS", 2)
    server.prepare()
    for number in range(5):
        server.stage([build_entry("http://127.0.0.1:1", attempt=f"d-1-{number}")])
    assert [event.attempt for event in server.list_events("uid-1", 0)] == [f"d-1-{number}" for number in range(5)]


def test_a_journal_without_end_is_not_read_for_ever(server: SshBootServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_server, "JOURNAL_CHARACTERS", 1 << 20)
    sequences = itertools.count(1)

    def say_more(_command: str, _stdin: bytes = b"") -> str:
        event = {"event": "script", "detail": "", "client": "10.0.0.1", "host": "n1", "attempt": "1"}
        return "".join(f"{json.dumps({**event, 'seq': next(sequences)})}\n" for _ in range(ssh_server.PAGE_EVENTS))

    monkeypatch.setattr(server, "_run", say_more)
    with pytest.raises(BootServerFailed, match="its journal has more than 1 MiB"):
        server.list_events("uid-1", 0)


@pytest.mark.parametrize("output", ["Welcome", "[" * 2000, '{"seq": 1}', '{"seq": 1, "event": 5}', "[]", "null"])
def test_an_answer_that_cannot_be_read_is_a_failure_and_not_nothing(
    server: SshBootServer, ssh: LocalSsh, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.prepare()
    monkeypatch.setattr(ssh, "run", lambda *_, **__: CommandResult(0, output + "\n", ""))
    for call in (lambda: server.list_events("uid-1", 0), lambda: server.withdraw("uid-1"), server.release):
        with pytest.raises(BootServerFailed):
            call()


def test_a_host_whose_files_cannot_be_looked_at_is_no_host_without_a_daemon(
    server: SshBootServer, ssh: LocalSsh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "run", lambda *_, **__: CommandResult(1, "", "bash: cannot fork"))
    with pytest.raises(BootServerFailed, match="cannot fork"):
        server.withdraw("uid-1")


def test_an_upload_of_the_right_size_with_other_content_is_made_again(
    server: SshBootServer, ssh: LocalSsh, tmp_path: Path
) -> None:
    server.prepare()
    for path in (tmp_path / "base dir/upload").iterdir():
        if path.suffix != ".log":
            path.write_bytes(path.read_bytes().replace(b"install", b"tampere"))
    server.prepare()
    assert Path(server.installer).read_bytes() == b"installer"
    assert len(ssh.uploads) == 4


def test_a_service_of_another_version_is_used_by_our_own_commands(
    server: SshBootServer, ssh: LocalSsh, tmp_path: Path
) -> None:
    (tmp_path / "service.py").write_text("raise SystemExit('an older version knows no --build')")
    endpoint = dataclasses.replace(server._endpoint, service_daemon=str(tmp_path / "service.py"))
    service = SshBootServer(ssh, endpoint, tmp_path / "installer.cpio.gz")
    service.prepare()
    service.stage([build_entry("http://127.0.0.1:1")])
    assert [event.kind for event in service.list_events("uid-1", 0)] == [BootEventKind.STAGED]
    assert service.withdraw("uid-1").hosts == ("oxygen2",)


def test_what_dhcp_said_is_read_from_its_log_where_it_is_ours(
    server: SshBootServer, ssh: LocalSsh, tmp_path: Path
) -> None:
    machines = {"52:54:00:8d:00:02": "10.141.0.2"}
    assert server.explain_silence(machines, 300) == {}
    log = tmp_path / "dnsmasq.log"
    endpoint = dataclasses.replace(server._endpoint, service_daemon="/usr/local/bin/bootd", dhcp_log=str(log))
    service = SshBootServer(ssh, endpoint, tmp_path / "installer.cpio.gz")
    with pytest.raises(BootServerFailed, match=r"dnsmasq\.log"):
        service.explain_silence(machines, 300)
    stamp = time.strftime("%b %e %H:%M:%S")
    log.write_text(f"{stamp} dnsmasq-dhcp[7]: DHCPDISCOVER(eth1) 52:54:00:8d:00:02 no address available\n")
    assert "no address available" in service.explain_silence(machines, 300)["52:54:00:8d:00:02"]
