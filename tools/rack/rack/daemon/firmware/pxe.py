"""Network boot: the DHCP, TFTP and HTTP exchanges of a PXE card and then of iPXE, with BusyBox's real clients."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from .console import Console

UDHCPC_SCRIPT = Path(__file__).parent / "udhcpc-report"
DISCOVER_TRIES = 4
"""A PXE ROM sends four requests before it gives up (PXE specification 2.1, 2.2.3); we wait one second after each."""
HTTP_SECONDS = 30
"""iPXE gives up when nothing was received for this long."""
FETCH_TRIES = 3

# Option 93 (client architecture) 0 is a BIOS, 94 (network interface) 1.2.1 is UNDI 2.1; RFC 4578.
PXE_ROM = ("-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000", "-x", "0x5e:010201")
# Option 77 is iPXE's user class, 175 its encapsulated options: here "can do HTTP" (0x13) and "bzImage" (0x18).
IPXE = (*PXE_ROM, "-x", "0x4d:69505845", "-x", "0xaf:130101180101")


class BootError(Exception):
    """This boot device failed to boot; the message says why."""


@dataclass(frozen=True)
class Lease:
    """Contents of the DHCP answer."""

    address: str
    mask: str
    router: str
    host_name: str
    next_server: str
    boot_file: str


def parse_lease(text: str) -> Lease:
    """Return the lease from the lines `name=value` that udhcpc passes to its script."""
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return Lease(
        address=found.get("ip", ""),
        mask=found.get("mask", "24"),
        router=found.get("router", "").split(" ")[0],
        host_name=found.get("hostname", ""),
        # Options 66 and 67 override the fields of the BOOTP header, as in firmware.
        next_server=found.get("tftp") or found.get("siaddr", ""),
        boot_file=found.get("bootfile") or found.get("boot_file", ""),
    )


class Network:
    """One network card, used by the firmware."""

    def __init__(self, nic: str, scratch: Path, console: Console) -> None:
        self.nic = nic
        self.mac = Path(f"/sys/class/net/{nic}/address").read_text().strip()
        self._scratch = scratch
        self._console = console

    def request_lease(self, client: tuple[str, ...]) -> Lease:
        """Ask for an address as the given kind of client, and use it.

        Raises:
            BootError: no server answered.

        """
        self.reset()
        run("ip", "link", "set", self.nic, "up")
        report = self._scratch / "lease"
        report.unlink(missing_ok=True)
        command = [
            "busybox",
            "udhcpc",
            "-i",
            self.nic,
            "-f",
            "-q",
            "-n",
            "-t",
            str(DISCOVER_TRIES),
            "-T",
            "1",
            "-A",
            "0",
        ]
        command += ["-s", str(UDHCPC_SCRIPT), "-O", "tftp", "-O", "bootfile", "-O", "hostname", *client]
        subprocess.run(command, env={"LEASE_FILE": str(report), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, check=False)
        if not report.exists():
            raise BootError("PXE-E51: no DHCP offer was received")
        lease = parse_lease(report.read_text())
        run("ip", "address", "add", f"{lease.address}/{lease.mask}", "dev", self.nic)
        if lease.router:
            run("ip", "route", "add", "default", "via", lease.router)
        self._console.say(
            f"{self.nic}: {lease.address}/{lease.mask} server {lease.next_server} file {lease.boot_file or '(none)'}"
        )
        return lease

    def fetch_by_tftp(self, server: str, name: str) -> Path:
        """Fetch a file by TFTP.

        Raises:
            BootError: the server did not give it.

        """
        target = self._scratch / "nbp"
        self._console.say(f"tftp://{server}/{name}")
        done = subprocess.run(
            ["busybox", "tftp", "-g", "-b", "1468", "-r", name, "-l", str(target), server], check=False
        )
        if done.returncode:
            raise BootError(f"PXE-E32: tftp://{server}/{name} could not be fetched")
        return target

    def fetch_by_http(self, url: str, target: Path) -> Path:
        """Fetch a file by HTTP, trying again when the connection fails but not when the server says no.

        Raises:
            BootError: the server said no, or could not be reached.

        """
        if not url.startswith(("http://", "tftp://")):
            raise BootError(f"{url}: only http and tftp can be fetched (iPXE error 3c092083, no such protocol)")
        if url.startswith("tftp://"):
            server, _, name = url.removeprefix("tftp://").partition("/")
            return self.fetch_by_tftp(server, name).rename(target)
        why = ""
        for _ in range(FETCH_TRIES):
            try:
                with urllib.request.urlopen(url, timeout=HTTP_SECONDS) as answer, target.open("wb") as file:  # noqa: S310 - checked above
                    shutil.copyfileobj(answer, file, 1 << 20)
            except urllib.error.HTTPError as error:
                self._console.say(f"{url}... HTTP {error.code}")
                raise BootError(f"{url}: HTTP {error.code}") from error
            except (OSError, http.client.HTTPException) as error:
                why = str(error)
                self._console.say(f"{url}... {why}")
            else:
                self._console.say(f"{url}... ok, {target.stat().st_size} bytes")
                return target
        raise BootError(f"{url}: {why}")

    def reset(self) -> None:
        """Reset the card to the state in which a kernel finds it: down, without addresses."""
        run("ip", "address", "flush", "dev", self.nic)
        run("ip", "link", "set", self.nic, "down")


def request_boot_script(network: Network, console: Console) -> tuple[str, Lease]:
    """Do what a PXE ROM and the iPXE that it fetches do; return the address of iPXE's script.

    Raises:
        BootError: no server offers a network boot.

    """
    lease = network.request_lease(PXE_ROM)
    if lease.boot_file.startswith("http://"):  # a server that takes us for iPXE in ROM straight away
        return lease.boot_file, lease
    if not lease.boot_file:
        raise BootError("PXE-E53: no boot filename received")
    program = network.fetch_by_tftp(lease.next_server, lease.boot_file)
    if not lease.boot_file.endswith((".kpxe", ".pxe", ".kkpxe", ".lkrn")) or program.stat().st_size == 0:
        raise BootError(f"{lease.boot_file} is not a network boot program that this firmware runs (iPXE only)")
    console.say("iPXE initialising devices...ok")
    lease = network.request_lease(IPXE)
    if not lease.boot_file or lease.boot_file == "undionly.kpxe":
        raise BootError("iPXE: nothing to boot: no filename for iPXE in the DHCP answer")
    return urljoin(f"tftp://{lease.next_server}/", lease.boot_file), lease


def run(*command: str) -> None:
    """Run a program that must succeed."""
    subprocess.run(command, check=True)
