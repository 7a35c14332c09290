"""Looks for a build's secrets in places where they must never be.

A finding names the place and the type of the secret, never the secret itself.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

from bessemer.api.phase_contract import PHASE_ORDER
from bessemer.machines.secrets import BuildSecrets, parse_login_key
from local_kubernetes.kubectl import Resource
from tests.support.site import Site

WEB_ROOT = "/srv/http"
SECRET = "{}-bessemer"
"""The operator's own Secret of a build."""
LOOK_SECONDS = 8
"""Seconds between two checks: each takes more than a second of processor time."""
ATTEMPTS = 3
"""Number of attempts of phases and nodes whose install tokens are searched for."""


def list_leaks(site: Site, name: str = "oxygen") -> list[str]:
    """List where secrets in use by a build were seen; empty is good."""
    needles = dict(build_needles(site, site.get_build(name)))
    places = [*list_processes(), *list_logs(site, name), *list_objects(site), *list_web_root(site)]
    return [f"{kind} in {place}" for place, content in places for needle, kind in needles.items() if needle in content]


class LeakWatch:
    """Checks for leaks repeatedly during a build, because many places where secrets may leak are gone at its end."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.leaks: set[str] = set()
        self.looks = 0
        self._next = 0.0

    def look(self, now: float) -> None:
        """Check if it is due (``now`` in seconds of a monotonic clock) and if there are secrets yet."""
        if now >= self._next and self.site.kubectl.find("secret", SECRET.format("oxygen")):
            self.leaks |= set(list_leaks(self.site))
            self.looks += 1
            self._next = now + LOOK_SECONDS


def build_needles(site: Site, build: Resource) -> Iterator[tuple[bytes, str]]:
    """Yield each secret in each form in which it may be written, with a description."""
    data = site.kubectl.get("secret", SECRET.format(build["metadata"]["name"]))["data"]
    secrets = BuildSecrets(
        uid=build["metadata"]["uid"],
        seed=base64.b64decode(base64.b64decode(data["seed"])),
        login_key=parse_login_key(site.lab.client_private_key.encode(), "the rack's login key"),
    )
    yield base64.b64decode(data["seed"]).strip(), "the seed"
    yield base64.b64decode(data["progress-token"]).strip(), "the progress token"
    yield base64.b64encode(secrets.munge_key)[:60], "the munge key"
    yield secrets.munge_key[:60], "the munge key"
    yield key_line(secrets.login_key.private), "the login key"
    yield key_line(secrets.homes_key.private), "the key of the homes"
    for host in site.lab.state():
        yield key_line(secrets.host_key(host).private), f"the host key of {host}"
        for phase in PHASE_ORDER:
            for number in range(ATTEMPTS * ATTEMPTS):
                token = secrets.install_token(host, phase, 1 + number // ATTEMPTS, 1 + number % ATTEMPTS)
                yield token.encode(), f"an install token of {host}"


def key_line(private: str) -> bytes:
    """Return a line of a private key that contains secret bytes: the first line is the same in all keys."""
    return private.splitlines()[3].encode()


def list_processes() -> Iterator[tuple[str, bytes]]:
    """Yield argv and environment of every process of the machine, except the tests' own."""
    for process in Path("/proc").glob("[0-9]*"):
        for kind in ("cmdline", "environ"):
            try:
                yield f"{kind} of process {process.name}", (process / kind).read_bytes()
            except OSError:
                break  # it ended meanwhile


def list_logs(site: Site, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the logs of the operator and of every phase."""
    everything = (
        "logs",
        "--tail=-1",
        "--all-containers",
        "--prefix",
        "--ignore-errors",
    )  # a pod that starts has no log
    yield "the phases' logs", site.kubectl.run(*everything, "--selector", f"bessemer.dev/build={name}").encode()
    for pod in site.system.items("pods"):
        yield "the operator's log", site.system.run(*everything, pod["metadata"]["name"]).encode()


def list_objects(site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield every object that users may read and whose kind is not secret."""
    for kind in ("clusterbuilds", "pods", "events", "configmaps", "leases"):
        for kubectl in (site.kubectl, site.system):
            yield f"{kind} in {kubectl.namespace}", kubectl.run("get", kind, "-o", "yaml").encode()


def list_web_root(site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the boot host's web root but for the site's own images, packages and kernel."""
    ours = ["find", WEB_ROOT, "(", "-name", "debian", "-o", "-name", "images", "-o", "-name", "kernel", ")", "-prune"]
    text = site.lab.boot_host_exec([*ours, "-o", "-type", "f", "-size", "-1024k", "-exec", "cat", "{}", "+"])
    yield "the boot host's web root", text.encode()
