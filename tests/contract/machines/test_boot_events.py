"""Network boots as a real dnsmasq tells them, and what a machine's users get by pretending to boot: nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pytest

from bessemer.machines.netboot import bootd
from tests.component.machines.boot_daemon import MAC, SCRIPT, build_entry
from tests.contract.machines.daemons import START_SECONDS, ensure_program
from tests.support.checkout import ROOT

TEMPLATES = ROOT / "playbooks/roles/boot_server/templates"
SERVER, MACHINE = "bessemer-test-server", "bessemer-test-machine"
ADDRESS = "10.141.0.2"
URL = f"http://10.141.0.1:{8099}"
UNPRIVILEGED = 65534
IPXE = ("-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000", "-x", "0x4d:69505845", "-x", "0xaf:130101180101")

ASK = """
import encodings.idna, http.client, json, os, sys
user, port, method, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
os.setgid(user), os.setuid(user)
try:
    connection = http.client.HTTPConnection("10.141.0.1", 8099, 20, ("10.141.0.2", port))
    connection.request(method, path, b"log" if method == "POST" else None)
    answer = connection.getresponse()
    print(json.dumps([answer.status, answer.read().decode(errors="replace")]))
except PermissionError:
    print(json.dumps([0, "not permitted"]))
"""
PRETEND = """
import os, socket, struct, sys
os.setgid(65534), os.setuid(65534)
mac = bytes.fromhex(sys.argv[1].replace(":", ""))
head = struct.pack("!BBBBIHH4s4s4s4s16s64s128s", 1, 1, 6, 0, 7, 0, 0, bytes(4), b"", b"", b"", mac, b"", b"")
options = bytes([53, 1, 3, 50, 4, 10, 141, 0, 2, 60, 9]) + b"PXEClient" + bytes([175, 3, 0x13, 1, 1, 255])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.sendto(head + bytes([0x63, 0x82, 0x53, 0x63]) + options, ("10.141.0.1", 67))
"""


def render(name: str, **values: Any) -> str:
    template = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False).from_string(  # noqa: S701  no HTML
        (TEMPLATES / name).read_text()
    )
    return template.render(ansible_managed="made by a test", **values)


def run_in(namespace: str, *command: str) -> str:
    return subprocess.run(
        ["ip", "netns", "exec", namespace, *command], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


@dataclass
class Site:
    """A server with dnsmasq and the boot daemon, and one machine, in network namespaces."""

    state: Path
    no_script: Path
    ports: Iterator[int]

    def boot(self, *client: str) -> None:
        """Ask for a lease, as firmware or as whatever the options say."""
        address = ["ip", "-n", MACHINE, "address"]
        subprocess.run([*address, "flush", "dev", "eth0"], check=True)
        command = ["busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "5", "-T", "1", "-A", "0"]
        run_in(MACHINE, *command, "-s", str(self.no_script), *client)
        subprocess.run([*address, "add", f"{ADDRESS}/16", "dev", "eth0"], check=True)

    def ask(self, method: str, path: str, user: int = 0, port: int = 0) -> tuple[int, str]:
        status, body = json.loads(run_in(MACHINE, sys.executable, "-c", ASK, str(user), str(port), method, path))
        return status, body

    def ask_for_script(self, user: int = 0) -> str | None:
        """Ask for the boot script; returns the token in it."""
        status, text = self.ask("GET", SCRIPT, user)
        return text.split("/node/")[1].split("/")[0] if status == 200 else None

    def install(self, token: str) -> list[int]:
        """Do what the installer does, as root; returns the statuses."""
        steps = [("GET", "config"), ("POST", "started"), ("POST", "finished")]
        return [self.ask(method, f"/node/{token}/{what}", 0, next(self.ports))[0] for method, what in steps]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    dnsmasq = ensure_program("dnsmasq", "dnsmasq-base")
    ensure_program("busybox", "busybox-static")
    tmp_path.chmod(0o755)
    hook = tmp_path / "boot-event"
    hook.write_text(render("boot-event.j2", boot_server_directory=tmp_path))
    hook.chmod(0o755)
    no_script = tmp_path / "no-script"
    no_script.write_text("#!/bin/sh\n")
    no_script.chmod(0o755)
    (tmp_path / "dhcp-hosts").mkdir()
    machine = {"mac": MAC, "address": ADDRESS, "name": "oxygen2"}
    (tmp_path / "dhcp-hosts/oxygen").write_text(render("dhcp-hosts.j2", boot_server_machines=[machine]))
    configuration = render(
        "dnsmasq.conf.j2",
        boot_server_dns_port=0,
        boot_server_interface="eth0",
        boot_server_network="10.141.0.0",
        boot_server_netmask="255.255.0.0",
        boot_server_directory=tmp_path,
        boot_server_router="",
        boot_server_address="10.141.0.1/16",
        boot_server_port=8099,
        boot_server_dnsmasq_configuration=["user=root", "no-ping"],
        boot_server_lease_seconds=600,
        __boot_server_log=tmp_path / "dnsmasq.log",
        __boot_server_leases=tmp_path / "dhcp.leases",
        __boot_server_ipxe=tmp_path,
        __boot_server_ipxe_bios="undionly.kpxe",
        __boot_server_ipxe_efi="ipxe.efi",
    )
    (tmp_path / "dnsmasq.conf").write_text(configuration.replace("/usr/local/lib/bessemer/boot-event", str(hook)))
    with namespaces():
        serve = [sys.executable, bootd.__file__, "serve", "--state", str(tmp_path / "bootd"), "--address", "10.141.0.1"]
        daemons = [[dnsmasq, "-k", "-C", str(tmp_path / "dnsmasq.conf"), "--pid-file"], serve]
        running = [subprocess.Popen(["ip", "netns", "exec", SERVER, *command]) for command in daemons]
        try:
            made = Site(tmp_path / "bootd", no_script, iter(range(700, 1000)))
            made.boot()
            wait_for_daemon(made)
            yield made
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(10)


class namespaces:  # noqa: N801  a context manager, used as one
    """Two network namespaces with a cable between them."""

    def __enter__(self) -> None:
        self.__exit__()
        lines = [
            f"netns add {SERVER}",
            f"netns add {MACHINE}",
            f"link add eth0 netns {SERVER} type veth peer name eth0 netns {MACHINE} address {MAC}",
        ]
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True)
        for namespace in (SERVER, MACHINE):
            subprocess.run(["ip", "-n", namespace, "link", "set", "eth0", "up"], check=True)
        subprocess.run(["ip", "-n", SERVER, "address", "add", "10.141.0.1/16", "dev", "eth0"], check=True)

    def __exit__(self, *_: object) -> None:
        for namespace in (SERVER, MACHINE):
            if Path("/run/netns", namespace).exists():
                subprocess.run(["ip", "netns", "delete", namespace], check=True)


def wait_for_daemon(site: Site) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "port" not in bootd.status(bootd.Store(str(site.state))):
        assert time.monotonic() < deadline, "the boot daemon doesn't start"
        time.sleep(0.1)


def test_a_stateless_machine_boots_again_and_its_users_get_nothing(site: Site) -> None:
    entry = build_entry(URL, address=ADDRESS, persistent=True, initrds=[], kernel="/proc/version")
    bootd.stage(bootd.Store(str(site.state)), [entry])
    site.boot(*IPXE)
    token = site.ask_for_script()
    assert token
    assert site.install(token) == [200, 200, 200]
    site.boot()  # the system that runs now has DHCP, too, and that is no boot

    assert site.ask_for_script(UNPRIVILEGED) is None
    assert site.ask("GET", f"/node/{token}/config", UNPRIVILEGED)[0] in (403, 410)
    run_in(MACHINE, sys.executable, "-c", PRETEND, MAC)  # anybody may send that, and dnsmasq answers it
    pretended = site.ask_for_script(UNPRIVILEGED) or ""
    assert site.ask("GET", f"/node/{pretended}/config", UNPRIVILEGED, 777) == (0, "not permitted")
    for method, what in (("GET", "config"), ("POST", "started"), ("POST", "failed"), ("POST", "finished")):
        assert site.ask(method, f"/node/{pretended}/{what}", UNPRIVILEGED)[0] in (403, 404)

    for _ in range(2):
        site.boot(*IPXE)
        token = site.ask_for_script()
        assert token
        assert site.install(token) == [200, 200, 200]
