"""The boot daemon over real HTTP on loopback, and its commands as real processes."""

from __future__ import annotations

import fcntl
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bessemer.phases.netboot import bootd
from tests.component.phases.boot_daemon import SCRIPT, TOKEN, Daemon, build_entry


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    state = tmp_path / "state"
    running = Daemon(state, bootd.Store(str(state)))
    running.start()
    yield running
    running.stop()


def test_a_machine_that_nobody_staged_boots_from_its_disk(daemon: Daemon) -> None:
    assert daemon.get(SCRIPT)[0] == 404


def test_the_script_names_kernel_initial_ram_disks_and_the_call_back_url(daemon: Daemon) -> None:
    daemon.stage()
    node = f"{daemon.url}/node/{TOKEN}"
    assert daemon.get(SCRIPT) == (
        200,
        (
            f"#!ipxe\nkernel {node}/kernel initrd=initrd0 initrd=initrd1 BOOTIF=01-52-54-00-8d-00-02 "
            f"bessemer.node={node} console=ttyS0\n"
            f"initrd --name initrd0 {node}/initrd/0\ninitrd --name initrd1 {node}/initrd/1\nboot\n"
        ).encode(),
    )


@pytest.mark.parametrize("start", ["kernel", "started"])
def test_the_entry_is_withdrawn_as_soon_as_the_install_starts(daemon: Daemon, start: str, tmp_path: Path) -> None:
    script = tmp_path / "site.ipxe"
    daemon.stage(script=str(script))
    assert script.read_text() == f"#!ipxe\nchain {daemon.url}{SCRIPT}\n"
    assert TOKEN not in script.read_text()
    assert daemon.get(SCRIPT)[0] == 200
    status, _ = daemon.get(f"/node/{TOKEN}/kernel") if start == "kernel" else daemon.post(f"/node/{TOKEN}/started")
    assert status in (200, 302)
    assert daemon.get(SCRIPT)[0] == 404
    assert not script.exists()


def test_sources_are_redirects_or_files_of_the_host(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "installer").write_bytes(b"\x1f\x8b" * 100_000)
    daemon.stage(initrds=["http://example/modules.img", str(tmp_path / "installer")])
    assert daemon.get(f"/node/{TOKEN}/kernel") == (302, b"http://example/vmlinuz")
    assert daemon.get(f"/node/{TOKEN}/initrd/0") == (302, b"http://example/modules.img")
    assert daemon.get(f"/node/{TOKEN}/initrd/1") == (200, b"\x1f\x8b" * 100_000)
    assert daemon.get(f"/node/{TOKEN}/initrd/2")[0] == 404


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
    last = daemon.store.journal(0)[-1]
    assert (last["event"], last["host"], last["attempt"]) == ("finished", "oxygen2", "d-1-1")
    assert last["detail"] == "x" * (4096 - 3) + "end"
    for call_back in ("finished", "failed", "started"):
        assert daemon.post(f"/node/{TOKEN}/{call_back}")[0] == 410
    assert daemon.get(f"/node/{TOKEN}/kernel")[0] == 410
    assert daemon.events()[-4:] == ["refused"] * 4


def test_nobody_finishes_without_having_fetched_the_configuration(daemon: Daemon) -> None:
    daemon.stage()
    assert daemon.post(f"/node/{TOKEN}/finished")[0] == 409
    assert daemon.post(f"/node/{TOKEN}/failed", b"no network")[0] == 200


def test_a_foreign_token_is_refused_and_written_down(daemon: Daemon) -> None:
    daemon.stage()
    assert daemon.post("/node/somebody-elses-token/finished")[0] == 403
    assert daemon.store.journal(0)[-1]["event"] == "refused"
    assert "somebody-elses-token" not in (daemon.state / "journal.jsonl").read_text()


def test_a_foreign_address_gets_neither_script_nor_configuration(daemon: Daemon) -> None:
    daemon.stage(address="10.141.0.2")
    assert daemon.get(SCRIPT)[0] == 403
    assert daemon.get(f"/node/{TOKEN}/config")[0] == 403
    last = daemon.store.journal(0)[-1]
    assert (last["host"], last["detail"]) == ("oxygen2", "address 127.0.0.1 instead of 10.141.0.2")


def test_the_token_of_an_earlier_attempt_is_worth_nothing(daemon: Daemon) -> None:
    daemon.stage()
    daemon.stage(token="token-of-the-second-attempt", attempt="d-1-2")
    assert daemon.post(f"/node/{TOKEN}/started")[0] == 403
    assert daemon.post("/node/token-of-the-second-attempt/started")[0] == 200


def test_a_stateless_machine_boots_from_the_network_each_time_with_a_new_grant(daemon: Daemon) -> None:
    daemon.stage(persistent=True)
    tokens = []
    for _ in range(2):
        text = daemon.get(SCRIPT)[1].decode()
        token = text.split("/node/")[1].split("/")[0]
        tokens.append(token)
        assert daemon.get(f"/node/{token}/kernel")[0] == 302
        assert daemon.get(f"/node/{token}/config")[0] == 200
        assert daemon.get(f"/node/{token}/config")[0] == 410
        assert daemon.post(f"/node/{token}/finished")[0] == 200
    assert tokens[0] != tokens[1]
    assert daemon.post(f"/node/{tokens[0]}/failed")[0] == 403


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
    assert [record["seq"] for record in daemon.store.journal(0)] == list(range(1, 6))


def test_a_journal_line_that_a_crash_cut_off_is_dropped(daemon: Daemon) -> None:
    daemon.stage()
    with (daemon.state / "journal.jsonl").open("a") as journal:
        journal.write('{"seq": 2, "ev')
    assert daemon.events() == ["staged"]
    daemon.post(f"/node/{TOKEN}/started")
    assert [(record["seq"], record["event"]) for record in daemon.store.journal(0)] == [(1, "staged"), (2, "started")]


def test_the_journal_is_read_from_a_sequence_number_on(daemon: Daemon) -> None:
    daemon.stage()
    daemon.post(f"/node/{TOKEN}/started")
    assert daemon.events(since=1) == ["started"]
    assert daemon.events(since=2) == []


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
