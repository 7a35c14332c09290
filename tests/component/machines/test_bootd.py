"""The boot daemon over real HTTP on loopback, and its commands as real processes."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.machines.netboot import bootd
from tests.component.machines.boot_daemon import SCRIPT, TOKEN, Daemon, build_entry
from tests.support.examples import examples


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    state = tmp_path / "state"
    running = Daemon(state, bootd.Store(str(state)))
    running.start()
    yield running
    running.stop()


def test_a_machine_that_is_not_staged_boots_from_its_disk(daemon: Daemon) -> None:
    assert daemon.get(SCRIPT)[0] == 404


def test_the_script_names_kernel_initial_ram_disks_and_the_call_back_url_and_tries_again(daemon: Daemon) -> None:
    daemon.stage()
    node = f"{daemon.url}/node/{TOKEN}"
    assert daemon.get(SCRIPT) == (
        200,
        (
            f"#!ipxe\nset tries:int32 0\n:again\n"
            f"kernel {node}/kernel initrd=initrd0 initrd=initrd1 BOOTIF=01-52-54-00-8d-00-02 "
            f"bessemer.node={node} console=ttyS0 || goto failed\n"
            f"initrd --name initrd0 {node}/initrd/0 || goto failed\n"
            f"initrd --name initrd1 {node}/initrd/1 || goto failed\n"
            "boot || goto failed\n"
            ":failed\nimgfree\ninc tries\niseq ${tries} 4 && goto done ||\nsleep 3\ngoto again\n:done\nexit 1\n"
        ).encode(),
    )


@pytest.mark.parametrize("start", ["started", "config", "failed"])
def test_the_entry_is_withdrawn_as_soon_as_the_installer_calls(daemon: Daemon, start: str, tmp_path: Path) -> None:
    script = tmp_path / "site.ipxe"
    daemon.stage(script=str(script))
    assert script.read_text() == f"#!ipxe\nchain {daemon.url}{SCRIPT} || exit 1\n"
    assert TOKEN not in script.read_text()
    for _ in range(2):  # a machine that got its kernel and no initial RAM disk asks again
        assert daemon.get(SCRIPT)[0] == 200
        assert daemon.get(f"/node/{TOKEN}/kernel")[0] == 302
    assert script.exists()
    path = f"/node/{TOKEN}/{start}"
    assert (daemon.get(path) if start == "config" else daemon.post(path))[0] == 200
    assert daemon.get(SCRIPT)[0] == 404
    assert not script.exists()


def test_a_machine_that_never_gets_as_far_as_the_installer_does_not_boot_from_the_network_for_ever(
    daemon: Daemon, tmp_path: Path
) -> None:
    daemon.stage(script=str(tmp_path / "site.ipxe"))
    assert [daemon.get(SCRIPT)[0] for _ in range(bootd.MAX_BOOTS + 2)] == [200] * bootd.MAX_BOOTS + [404] * 2
    assert daemon.store.journal.read()[-1]["detail"] == "script: 5 boots, and the installer never called back"
    assert not (tmp_path / "site.ipxe").exists()
    daemon.stage(attempt="d-1-2", token="token-of-the-second-attempt")
    assert daemon.get(SCRIPT)[0] == 200


def test_sources_are_redirects_or_files_of_the_host(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "installer").write_bytes(b"\x1f\x8b" * 100_000)
    daemon.stage(initrds=["http://example/modules.img", str(tmp_path / "installer")])
    assert daemon.get(f"/node/{TOKEN}/kernel") == (302, b"http://example/vmlinuz")
    assert daemon.get(f"/node/{TOKEN}/initrd/0") == (302, b"http://example/modules.img")
    assert daemon.get(f"/node/{TOKEN}/initrd/1") == (200, b"\x1f\x8b" * 100_000)
    assert daemon.get(f"/node/{TOKEN}/initrd/2")[0] == 404
    assert [(e["event"], e["detail"]) for e in daemon.store.journal.read()[-3:]] == [
        ("initrd/0", "1 of 2"),
        ("initrd/1", "2 of 2"),
        ("refused", "initrd/2: there is none"),
    ]


def test_the_configuration_is_given_once(daemon: Daemon) -> None:
    daemon.stage()
    status, body = daemon.get(f"/node/{TOKEN}/config")
    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert {member.name: member.mode for member in archive} == {"install.conf": 0o600, "root/etc/ssh/key": 0o600}
        conf = archive.extractfile("install.conf")
        assert conf
        assert conf.read() == b"IMAGE=http://example/root.tar.gz\nMETHOD=DiskImage\n"
    assert daemon.get(f"/node/{TOKEN}/config")[0] == 410
    assert daemon.events()[-1] == "refused"


def test_call_backs_are_taken_once_with_the_end_of_the_log(daemon: Daemon) -> None:
    daemon.stage()
    assert daemon.post(f"/node/{TOKEN}/started")[0] == 200
    assert daemon.get(f"/node/{TOKEN}/config")[0] == 200
    assert daemon.post(f"/node/{TOKEN}/finished", b"x" * 5000 + b"end")[0] == 200
    last = daemon.store.journal.read()[-1]
    assert (last["event"], last["host"], last["attempt"]) == ("finished", "oxygen2", "d-1-1")
    assert last["detail"] == "x" * (4096 - 3) + "end"
    for call_back in ("finished", "failed", "started"):
        assert daemon.post(f"/node/{TOKEN}/{call_back}")[0] == 410
    assert daemon.get(f"/node/{TOKEN}/kernel")[0] == 410
    assert daemon.events()[-4:] == ["refused"] * 4


def test_no_machine_finishes_without_having_fetched_the_configuration(daemon: Daemon) -> None:
    daemon.stage()
    assert daemon.post(f"/node/{TOKEN}/finished")[0] == 409
    assert daemon.post(f"/node/{TOKEN}/failed", b"no network")[0] == 200


def test_a_foreign_token_is_refused_and_written_down(daemon: Daemon) -> None:
    daemon.stage()
    assert daemon.post("/node/token-of-another/finished")[0] == 403
    assert daemon.store.journal.read()[-1]["event"] == "refused"
    assert "token-of-another" not in (daemon.state / "journal.jsonl").read_text()


def test_a_foreign_address_gets_neither_script_nor_configuration(daemon: Daemon) -> None:
    daemon.stage(address="10.141.0.2")
    assert daemon.get(SCRIPT)[0] == 403
    assert daemon.get(f"/node/{TOKEN}/config")[0] == 403
    last = daemon.store.journal.read()[-1]
    assert (last["host"], last["detail"]) == ("oxygen2", "address 127.0.0.1 instead of 10.141.0.2")


def test_the_token_of_an_earlier_attempt_is_worth_nothing(daemon: Daemon) -> None:
    daemon.stage()
    daemon.stage(token="token-of-the-second-attempt", attempt="d-1-2")
    assert daemon.post(f"/node/{TOKEN}/started")[0] == 403
    assert daemon.post("/node/token-of-the-second-attempt/started")[0] == 200


def fetch_all(daemon: Daemon) -> str:
    """Boot a stateless machine to the end; returns its token."""
    text = daemon.get(SCRIPT)[1].decode()
    token = text.split("/node/")[1].split("/")[0]
    assert daemon.get(f"/node/{token}/kernel")[0] == 302
    assert daemon.get(f"/node/{token}/config")[0] == 200
    assert daemon.get(f"/node/{token}/config")[0] == 410
    assert daemon.post(f"/node/{token}/finished")[0] == 200
    return token


def test_a_stateless_machine_boots_from_the_network_each_time_with_a_new_grant(daemon: Daemon) -> None:
    daemon.stage(persistent=True)
    first = fetch_all(daemon)
    daemon.boot()
    assert fetch_all(daemon) != first
    assert daemon.post(f"/node/{first}/failed")[0] == 403


def test_no_grant_is_renewed_by_asking_for_the_script(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootd, "BOOT_EVENT_SECONDS", 0.3)
    daemon.stage(persistent=True)
    daemon.boot()  # what DHCP told of a boot that has happened is no good for another one
    token = fetch_all(daemon)
    for _ in range(3):
        status, body = daemon.get(SCRIPT)
        assert (status, b"/node/" in body) == (404, False)
    assert daemon.get(f"/node/{token}/config")[0] == 410
    os.utime(touch(daemon.state / "boots/52-54-00-8d-00-02"), (0, 0))
    assert daemon.get(SCRIPT)[0] == 404


@pytest.mark.parametrize("boot_events", [True, False])
def test_no_user_can_use_up_what_the_next_boot_needs(daemon: Daemon, boot_events: bool) -> None:
    daemon.stage(persistent=True, boot_events=boot_events)
    fetch_all(daemon)
    for _ in range(bootd.MAX_BOOTS):
        daemon.boot()  # pretended
        daemon.get(SCRIPT)
    daemon.boot()
    for _ in range(bootd.MAX_BOOTS):
        assert daemon.get(SCRIPT)[0] == 200


def touch(path: Path) -> Path:
    path.touch()
    return path


def test_a_script_waits_for_what_dhcp_is_about_to_tell(daemon: Daemon) -> None:
    daemon.stage(persistent=True)
    fetch_all(daemon)
    threading.Timer(0.4, daemon.boot).start()
    assert daemon.get(SCRIPT)[0] == 200


def test_what_is_staged_for_a_machine_that_runs_is_good_from_its_next_boot_on(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootd, "BOOT_EVENT_SECONDS", 0.0)
    daemon.stage(persistent=True, armed=False)
    assert daemon.events() == ["restored"]
    assert daemon.get(SCRIPT)[0] == 404
    daemon.boot()
    assert daemon.get(SCRIPT)[0] == 200
    daemon.stage(persistent=True, armed=False)  # while it boots: it keeps what it has
    assert fetch_all(daemon)


def test_where_dhcp_does_not_tell_of_boots_a_script_can_be_had_but_takes_root_to_use(daemon: Daemon) -> None:
    daemon.stage(persistent=True, boot_events=False)
    first = fetch_all(daemon)
    text = daemon.get(SCRIPT)[1].decode()
    token = text.split("/node/")[1].split("/")[0]
    assert token != first
    assert daemon.server
    daemon.server.root_ports = 1024
    assert daemon.get(f"/node/{token}/config")[0] == 403


def test_without_root_nothing_is_had_and_nothing_is_reported(daemon: Daemon) -> None:
    assert daemon.server
    daemon.server.root_ports = 1024
    daemon.stage()
    assert daemon.get(f"/node/{TOKEN}/config")[0] == 403
    for call_back in ("started", "failed", "finished"):
        assert daemon.post(f"/node/{TOKEN}/{call_back}", b"forged")[0] == 403
    refused = daemon.store.journal.read()[1:]
    assert {(found["event"], found["host"]) for found in refused} == {("refused", "oxygen2")}
    assert "which takes root" in refused[0]["detail"]
    daemon.server.root_ports = 65536
    assert daemon.post(f"/node/{TOKEN}/started")[0] == 200


def test_withdrawing_removes_entry_token_and_script_of_this_build_only(daemon: Daemon, tmp_path: Path) -> None:
    daemon.stage(script=str(tmp_path / "site.ipxe"))
    daemon.stage(build="uid-2", host="argon1", mac="52:54:00:00:00:99", token="token-of-another-build")
    daemon.stage(host="oxygen3", mac="52:54:00:8d:00:03", token="token-of-a-stateless-one", persistent=True)
    assert bootd.withdraw(daemon.store, "uid-1", ["oxygen7"], []) == {"withdrawn": [], "left": 3}
    assert bootd.withdraw(daemon.store, "uid-1", None, ["oxygen2", "oxygen3"]) == {"withdrawn": ["oxygen2"], "left": 2}
    assert not (tmp_path / "site.ipxe").exists()
    assert daemon.get(SCRIPT)[0] == 404
    assert daemon.post(f"/node/{TOKEN}/started")[0] == 403
    assert bootd.withdraw(daemon.store, "uid-1", None, []) == {"withdrawn": ["oxygen3"], "left": 1}
    assert [entry["host"] for entry in daemon.store.entries()] == ["argon1"]


def test_a_restarted_daemon_goes_on_where_the_old_one_was(daemon: Daemon) -> None:
    daemon.stage()
    daemon.get(f"/node/{TOKEN}/kernel")
    daemon.get(f"/node/{TOKEN}/config")
    daemon.stop()
    daemon.store = bootd.Store(str(daemon.state))
    daemon.start()
    assert daemon.get(SCRIPT)[0] == 404
    assert daemon.get(f"/node/{TOKEN}/config")[0] == 410
    assert daemon.post(f"/node/{TOKEN}/finished")[0] == 200
    assert [record["seq"] for record in daemon.store.journal.read()] == list(range(1, 6))


def test_a_journal_line_that_a_crash_cut_off_is_dropped(daemon: Daemon) -> None:
    daemon.stage()
    with (daemon.state / "journal.jsonl").open("a") as journal:
        journal.write('{"seq": 2, "ev')
    assert daemon.events() == ["staged"]
    daemon.post(f"/node/{TOKEN}/started")
    assert [(record["seq"], record["event"]) for record in daemon.store.journal.read()] == [
        (1, "staged"),
        (2, "started"),
    ]


GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"[" * 5000, b"{}", b"null", b'{"seq": 1e999}', b'{"seq": true}', b'{"seq": 9, "event": 1}', b""]),
    st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)).map(
        lambda value: json.dumps(value).encode()
    ),
)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(GARBAGE, max_size=5), st.booleans())
def test_nothing_that_stands_in_a_journal_stops_it(garbage: list[bytes], torn: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        store = bootd.Store(name)
        entry = build_entry("http://127.0.0.1:1")
        bootd.stage(store, [entry])
        with store.journal.path.open("ab") as journal:
            journal.write(b"\n".join(garbage) + (b"" if torn else b"\n"))
        store.record(entry, "started", "127.0.0.1")
        records = store.journal.read(build="uid-1")
        assert [record["event"] for record in records if record["host"] == "oxygen2"] == ["staged", "started"]
        assert records[-1]["seq"] > records[0]["seq"]


def test_the_journal_is_read_from_a_sequence_number_on_by_pages(daemon: Daemon) -> None:
    daemon.stage()
    daemon.stage(build="uid-2", host="argon1", mac="52:54:00:00:00:99", token="token-of-another-build")
    daemon.post(f"/node/{TOKEN}/started")
    daemon.post("/node/token-that-is-unknown/started")
    assert daemon.events(since=2) == ["started", "refused"]
    assert daemon.events(since=4) == []
    read = daemon.store.journal.read
    assert [found["event"] for found in read(0, "uid-1")] == ["staged", "started", "refused"]
    assert [found["seq"] for found in read(0, "uid-1", 2)] == [1, 3]


def test_a_journal_is_bounded_and_what_matters_stays_in_it(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An attacker asks all day; the size is bounded, and the machine is still known to have finished."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(bootd, "COMPACT_BYTES", 1 << 16)
    daemon.stage(attempt="d-1-1")
    entry, store, largest = daemon.store.entries()[0], daemon.store, 0
    for event in ("started", "config", "finished"):
        store.record(entry, event, "127.0.0.1", "x" * 4000)
    for number in range(5000):
        store.record(entry if number % 2 else {}, "refused", "127.0.0.1", f"config: used up {number}")
        largest = max(largest, store.journal.path.stat().st_size)
    assert largest < (1 << 16) + 1000
    records = store.journal.read(build="uid-1")
    assert [found["event"] for found in records][:4] == ["staged", "started", "config", "finished"]
    assert [found["seq"] for found in records] == sorted({found["seq"] for found in records})
    assert records[-1]["seq"] == 4 + 5000
    assert store.journal.read(since=records[-2]["seq"]) == records[-1:]


def test_events_of_many_machines_and_builds_fit_together(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(bootd, "JOURNAL_BYTES", 100_000)
    monkeypatch.setattr(bootd, "KEPT_BUILDS", 2)
    journal = daemon.store.journal
    for build in ("gone-1", "gone-2", "gone-3", "here"):
        for number in range(20):
            for event in ("staged", "script", "script", "finished", "finished"):
                record = {"event": event, "client": "", "detail": "x" * 300, "build": build, "host": f"n{number}"}
                journal.append({**record, "attempt": "d-1-1"}, set)
    journal.compact({"here"})
    assert journal.path.stat().st_size <= 100_100
    records = journal.read()
    assert {found["build"] for found in records} == {"gone-2", "gone-3", "here"}
    assert {found["host"] for found in records if found["event"] == "finished"} == {f"n{n}" for n in range(20)}


def test_a_journal_of_an_earlier_version_is_compacted_by_the_next_event(daemon: Daemon) -> None:
    line = {"seq": 1, "time": 1.0, "event": "script", "client": "10.0.0.2", "detail": "", "build": "b", "host": "n1"}
    with daemon.store.journal.path.open("w") as journal:
        for number in range(1, 12_001):
            journal.write(json.dumps({**line, "seq": number, "attempt": "d-1-1"}) + "\n")
    daemon.stage()
    assert daemon.store.journal.path.stat().st_size < 5000
    assert daemon.store.journal.read()[-1]["seq"] == 12_001


def test_the_same_refusal_is_written_down_once_in_a_while(daemon: Daemon) -> None:
    for _ in range(20):
        assert daemon.post("/node/token-that-is-unknown/started")[0] == 403
    assert len(daemon.events()) < 5


def test_call_backs_are_text_that_can_be_shown(daemon: Daemon) -> None:
    daemon.stage()
    assert (
        daemon.post(f"/node/{TOKEN}/failed", b"installer: error: boom\x1b]0;pwned\x07\x1b[2J\xff\xe2\x80\xa8\nend")[0]
        == 200
    )
    assert daemon.store.journal.read()[-1]["detail"] == "installer: error: boom?]0;pwned??[2J??\nend"


def test_static_files_are_given_out_and_nothing_beside_them(daemon: Daemon) -> None:
    (daemon.state / "static/root.tar.gz").write_bytes(b"image")
    (daemon.state / "secret").write_text("no")
    assert daemon.get("/files/root.tar.gz") == (200, b"image")
    for path in ("/files/../secret", "/files/%2e%2e/secret", "/files/", "/files/.", "/files/missing", "/entries", "/"):
        assert daemon.get(path)[0] == 404


def test_bodies_are_bounded(daemon: Daemon) -> None:
    daemon.stage()
    assert daemon.post(f"/node/{TOKEN}/failed", b"x" * 70_000)[0] == 413
    with socket.create_connection(("127.0.0.1", daemon.port), 5) as connection:
        connection.sendall(f"POST /node/{TOKEN}/failed HTTP/1.0\r\n\r\n".encode())
        assert b" 411 " in connection.recv(100)
    assert daemon.post("/node/bad token/failed".replace(" ", "%20"))[0] == 404
    assert daemon.events() == ["staged"]


def hold(daemon: Daemon, address: str, data: bytes) -> socket.socket:
    """Open a connection that sends the beginning of a request and then waits."""
    connection = socket.create_connection(("127.0.0.1", daemon.port), 5, (address, 0))
    connection.sendall(data)
    return connection


def test_half_open_requests_of_one_address_keep_no_other_waiting(daemon: Daemon) -> None:
    held = [hold(daemon, "127.0.0.9", b"GET /health HTTP/1.0\r\n") for _ in range(300)]
    began = time.monotonic()
    assert daemon.get("/health") == (200, b"ok\n")
    assert time.monotonic() - began < bootd.HEAD_SECONDS
    for connection in held:
        connection.close()


def test_a_head_that_drips_is_cut_off_at_its_deadline(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootd, "HEAD_SECONDS", 0.6)
    for start in (b"", b"GET /health HTTP/1.0\r\nX: "):
        with hold(daemon, "127.0.0.9", start) as connection:
            began = time.monotonic()
            assert drip(connection) == b""
            assert time.monotonic() - began < 3


def test_a_body_that_drips_is_cut_off_and_reports_nothing(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootd, "BODY_SECONDS", 0.6)
    daemon.stage()
    with hold(
        daemon, "127.0.0.1", f"POST /node/{TOKEN}/failed HTTP/1.0\r\nContent-Length: 60000\r\n\r\n".encode()
    ) as it:
        began = time.monotonic()
        assert drip(it) == b""
        assert time.monotonic() - began < 3
    assert daemon.events() == ["staged"]


def drip(connection: socket.socket) -> bytes:
    """Send a byte now and then until the other side answers or has enough."""
    connection.settimeout(0.1)
    while True:
        try:
            connection.sendall(b"a")
            return connection.recv(100)
        except TimeoutError:
            continue
        except ConnectionError:
            return b""


def test_a_head_without_end_is_cut_off(daemon: Daemon) -> None:
    with hold(daemon, "127.0.0.9", b"GET /health HTTP/1.0\r\n") as connection, contextlib.suppress(ConnectionError):
        for number in range(100):
            connection.sendall(b"X-%d: " % number + b"a" * 60_000 + b"\r\n")
        assert b" 200 " not in connection.recv(100)
    assert daemon.get("/health")[0] == 200


def test_a_token_is_used_by_only_one_of_many_at_once(daemon: Daemon) -> None:
    daemon.stage()
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(daemon.get(f"/node/{TOKEN}/config")[0])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [200] + [410] * 7


def test_health_is_told(daemon: Daemon) -> None:
    assert daemon.get("/health") == (200, b"ok\n")


def run_command(state: Path, command: str, request: Any = None, *options: str) -> Any:
    arguments = [sys.executable, bootd.__file__, command, "--state", str(state), *options]
    text = json.dumps(request) if request is not None else ""
    done = subprocess.run(arguments, input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()] if command == "journal" else json.loads(done.stdout)


def test_commands_stage_list_and_stop_a_daemon_of_its_own_process(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert run_command(state, "status") == {"running": False}
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    serve = [sys.executable, bootd.__file__, "serve", "--state", str(state), "--address", "127.0.0.1"]
    with subprocess.Popen([*serve, "--port", str(port)]) as process:
        deadline = time.monotonic() + 10
        while not (status := run_command(state, "status")).get("port"):
            assert time.monotonic() < deadline
        assert (status["pid"], status["port"], status["version"]) == (process.pid, port, bootd.version())
        second = subprocess.run([*serve, "--port", "0"], capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert "another boot daemon" in second.stderr
        entry = build_entry(f"http://127.0.0.1:{port}")
        assert run_command(state, "stage", {"entries": [entry]}) == {"staged": 1}
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{SCRIPT}", timeout=10) as answer:
            assert TOKEN in answer.read().decode()
        listed = run_command(state, "list")
        assert [item["host"] for item in listed] == ["oxygen2"]
        assert TOKEN not in json.dumps(listed)
        assert [record["event"] for record in run_command(state, "journal", None, "--since", "1")] == ["script"]
        assert run_command(state, "withdraw", {"build": "uid-1"}) == {"withdrawn": ["oxygen2"], "left": 0}
        assert run_command(state, "stop") == {"running": False}
        assert process.wait(10) == 0
    assert run_command(state, "status") == {"running": False}
    assert os.stat(state).st_mode & 0o777 == 0o700


def test_a_wrong_mac_address_is_refused(daemon: Daemon) -> None:
    with pytest.raises(SystemExit, match="no MAC address"):
        daemon.stage(mac="../../etc/passwd")


def test_a_look_at_the_status_keeps_no_daemon_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "serve.lock"
    with path.open("a+") as look, path.open("a+") as daemon:
        fcntl.flock(look, fcntl.LOCK_SH)
        threading.Timer(0.1, fcntl.flock, (look, fcntl.LOCK_UN)).start()
        bootd.take_lock(daemon)
        with pytest.raises(BlockingIOError):
            fcntl.flock(look, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with pytest.raises(SystemExit, match="another boot daemon"):
            bootd.take_lock(look)
