"""Whether a trigger allows what a manifest asks for. Pure.

Every field of a ClusterBuild is in one of two tables: those whose values must be listed in ``spec.allow`` of the
trigger, and those that need no permission, with the reason. A field in neither table is refused: a field that is added
to ClusterBuild must be added here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from bessemer.api.buildtrigger.allow import Allow
from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.errors import Invalid
from bessemer.foreign import make_line
from bessemer.machines.hostlists import build_hostlist, parse_hostlist

MOST_MACHINES = 65_536
"""Maximum number of names in spec.allow.machines, in all of its hostlists together."""
MOST_SHOWN = 8
MOST_DECODINGS = 4
"""How often the path of a URL may be percent-encoded; servers and proxies decode it one after the other."""

_OTHER_ESCAPE = re.compile("%u[0-9a-f]", re.IGNORECASE)
"""An escape for which each server has its own reading, such as %u002e; others read %c0%ae as a dot."""


@dataclass(frozen=True)
class Policy:
    """``spec.allow`` in a form that values are compared with."""

    allow: Allow

    @cached_property
    def machines(self) -> frozenset[str]:
        """Names of the allowed machines; raises Invalid InvalidSpec for what is no hostlist."""
        found: list[str] = []
        for number, hostlist in enumerate(self.allow.machines):
            try:
                found += parse_hostlist(hostlist, MOST_MACHINES)
            except ValueError as error:
                raise Invalid("InvalidSpec", f"spec.allow.machines[{number}]: {error}") from error
            if len(found) > MOST_MACHINES:
                raise Invalid("InvalidSpec", f"spec.allow.machines: more than {MOST_MACHINES} names in all lists")
        return frozenset(found)

    @cached_property
    def networks(self) -> tuple[ipaddress.IPv4Network, ...]:
        """The allowed networks; raises Invalid InvalidSpec for what is none."""
        try:
            return tuple(ipaddress.IPv4Network(text, strict=False) for text in self.allow.networks)
        except ValueError as error:
            raise Invalid("InvalidSpec", f"spec.allow.networks: {error}") from error

    def check(self) -> None:
        """Raise Invalid InvalidSpec for an entry that can't be read."""
        _ = self.machines, self.networks


Get = Callable[[Allow], Iterable[str]]
"""Returns one of the lists."""
Find = Callable[[Policy, str], Iterable[str]]
"""Returns the parts of a value that are not allowed."""


@dataclass(frozen=True)
class _Check:
    """How the values of a field are compared with a list in spec.allow."""

    listed: str
    """The field of spec.allow."""
    find: Find


def list_violations(policy: Policy, spec: ClusterBuildSpec) -> list[str]:
    """List what a ClusterBuild names although the trigger does not allow it: field, value, and what is allowed.

    Raises Invalid InvalidSpec for an entry of spec.allow that can't be read.
    """
    policy.check()
    found = []
    for path, where, value in _iterate_leaves(spec.to_api()):
        check = CHECKED.get(path)
        if check is not None:
            refused = list(check.find(policy, str(value)))
            if refused:
                found.append(f"spec.{where}: {_show(refused)} is not allowed: {_describe(policy.allow, check.listed)}")
        elif not _is_free(path):
            found.append(f"spec.{where}: can't be set by a trigger")
    return found


def _iterate_leaves(value: Any, path: str = "", where: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield the path of each value in the schema, its path in the manifest, and the value; free ones as a whole."""
    if isinstance(value, Mapping) and not _is_free(path):
        for name, inner in value.items():
            yield from _iterate_leaves(inner, f"{path}.{name}".lstrip("."), f"{where}.{name}".lstrip("."))
    elif isinstance(value, list) and not _is_free(path):
        for number, inner in enumerate(value):
            yield from _iterate_leaves(inner, f"{path}[]", f"{where}[{number}]")
    else:
        yield path, where, value


def _is_free(path: str) -> bool:
    return any(path == free or path.startswith((f"{free}.", f"{free}[")) for free in FREE)


def _describe(allow: Allow, listed: str) -> str:
    names = [str(name) for name in allow.to_api().get(listed) or []]
    return f"spec.allow.{listed} of the trigger has {_show(names)}" if names else f"spec.allow.{listed} is empty"


def _show(values: list[str]) -> str:
    more = f" and {len(values) - MOST_SHOWN} more" if len(values) > MOST_SHOWN else ""
    return make_line(", ".join(values[:MOST_SHOWN]), 300) + more


def _find_hosts(policy: Policy, hostlist: str) -> list[str]:
    try:
        names = parse_hostlist(hostlist)
    except ValueError:
        return [hostlist]
    outside = [name for name in names if name not in policy.machines]
    return [build_hostlist(outside)] if outside else []


def _find_macs(policy: Policy, mac: str) -> list[str]:
    given = mac.lower().split(":")
    prefixes = [listed.lower().split(":") for listed in policy.allow.macs]
    return [] if any(given[: len(prefix)] == prefix for prefix in prefixes) else [mac]


def _find_addresses(policy: Policy, text: str) -> list[str]:
    """Find addresses that no machine may have, in a list such as 10.141.0.[2-65] or one with a prefix length.

    Those are the ones outside of the networks, and those of boot hosts and power control: else a manifest could make
    one of them its management node, which is configured as root.
    """
    servers = {*policy.allow.boot_hosts, *policy.allow.power}  # a machine is none of them, whatever network they are in
    try:
        given = parse_hostlist(text.partition("/")[0])
        return [one for one in given if one in servers or not _is_inside(ipaddress.IPv4Address(one), policy)]
    except ValueError:
        return [text]


def _find_ssh_host(policy: Policy, host: str) -> list[str]:
    """Allow a listed host name, or an address in one of the networks."""
    return _find_addresses(policy, host) if _find_hosts_in(lambda allow: allow.ssh_hosts)(policy, host) else []


def _is_inside(address: ipaddress.IPv4Address, policy: Policy) -> bool:
    return any(address in network for network in policy.networks)


def _find_names(get: Get) -> Find:
    """Return a check for names that must be in a list as they are."""
    return lambda policy, name: [] if name in get(policy.allow) else [name]


def _find_hosts_in(get: Get) -> Find:
    """The same for host names, whose case does not matter."""
    return lambda policy, name: [] if name.lower() in (one.lower() for one in get(policy.allow)) else [name]


def _find_directory(policy: Policy, directory: str) -> list[str]:
    """Allow a listed directory and those below; the schema knows no step that leads upwards."""
    listed = tuple(f"{one.rstrip('/')}/" for one in policy.allow.boot_directories)
    return [] if f"{directory.rstrip('/')}/".startswith(listed) else [directory]


def _find_urls(get: Get) -> Find:
    """Return a check for URLs that must be in a list, or begin with one of it up to a slash."""
    return lambda policy, url: [] if any(_is_below(url, one) for one in get(policy.allow)) else [url]


def _is_below(url: str, listed: str) -> bool:
    """Return whether a URL is the listed one or below it. Case counts, and a path that leads upwards is never below."""
    below = url.startswith(listed if listed.endswith("/") else f"{listed}/")
    # Only HTTP has queries and fragments: to the servers of git:// and ssh:// all of it is a path.
    path = re.split("[?#]", url, maxsplit=1)[0] if url.lower().startswith("http") else url
    return url == listed or (below and not _leads_upwards(path))


def _leads_upwards(path: str) -> bool:
    """Return whether a path has a dot segment in the eyes of any server, or can't be understood.

    Some decode slashes before they resolve dots, take a backslash for a slash, or leave out what follows a semicolon.
    """
    for _ in range(MOST_DECODINGS):
        steps = re.split(r"[/\\]", path)
        if any(step.partition(";")[0].strip() in (".", "..") for step in steps) or not path.isprintable():
            return True
        decoded = unquote(path)
        if "\ufffd" in decoded or _OTHER_ESCAPE.search(decoded):
            return True
        if decoded == path:
            return False
        path = decoded
    return True


_HOSTS, _MACS = _Check("machines", _find_hosts), _Check("macs", _find_macs)
_ADDRESSES = _Check("networks", _find_addresses)
_BOOT_USERS = _Check("bootUsers", _find_names(lambda allow: allow.boot_users))
_BOOT_HOSTS = _Check("bootHosts", _find_hosts_in(lambda allow: allow.boot_hosts))
_POWER = _Check("power", _find_hosts_in(lambda allow: allow.power))
_IMAGES = _Check("images", _find_urls(lambda allow: allow.images))
_SECRETS = _Check("secrets", _find_names(lambda allow: allow.secrets))
CHECKED: Mapping[str, _Check] = {
    "bootHost.ssh.address": _BOOT_HOSTS,
    "bootHost.ssh.user": _BOOT_USERS,
    "bootHost.address": _BOOT_HOSTS,
    "bootHost.bootDirectory": _Check("bootDirectories", _find_directory),
    "management.host": _HOSTS,
    "management.mac": _MACS,
    "management.address": _ADDRESSES,
    "management.ssh.address": _Check("sshHosts", _find_ssh_host),
    "management.clusterInterface.address": _ADDRESSES,
    "compute.hosts": _HOSTS,
    "compute.macs[]": _MACS,
    "compute.addresses": _ADDRESSES,
    "power.powerman.address": _POWER,
    "power.powerman.managementAddress": _POWER,
    "ssh.privateKeySecret.name": _SECRETS,
    "configuration.playbooks.repository": _Check("repositories", _find_urls(lambda allow: allow.repositories)),
    "configuration.playbooks.loginSecretName": _SECRETS,
    "services[]": _Check("services", _find_names(lambda allow: allow.services)),
    "priorityClassName": _Check("priorityClasses", _find_names(lambda allow: allow.priority_classes)),
} | {
    f"{machine}.install.{url}": _IMAGES
    for machine in ("management", "compute")
    for url in ("image", "kernel", "initrds[]")
}
"""Fields whose values must be allowed, by their paths in the schema."""
_TALK = "how a host is spoken to that bootHosts, sshHosts, networks or power allows"
_INSTALL = "what happens on machines that machines allows: who may push can configure them as root"
_PACE = "how long and how often is tried; the schema has the limits"
FREE: Mapping[str, str] = {
    "bootHost.ssh.port": _TALK,
    "bootHost.ssh.hostKey": _TALK,
    "bootHost.callbackPort": "a port of a boot host that bootHosts allows, bound as a user that bootUsers allows",
    "management.provision": _INSTALL,
    "management.install.method": _INSTALL,
    "management.install.kernelArguments": _INSTALL,
    "management.install.disk": _INSTALL,
    "management.ssh.port": _TALK,
    "management.ssh.user": "always root, by a rule of ClusterBuild",
    "management.ssh.hostKey": _TALK,
    "management.clusterInterface.name": _INSTALL,
    "compute.install.method": _INSTALL,
    "compute.install.kernelArguments": _INSTALL,
    "compute.install.disk": _INSTALL,
    "compute.minReady": _PACE,
    "compute.maxConcurrent": _PACE,
    "power.powerman.port": "a powermand of a host that power allows; it is told only names that machines allows",
    "power.powerman.timeoutSeconds": _PACE,
    "ssh.privateKeySecret.key": "a part of a Secret that secrets allows",
    "configuration.variables": _INSTALL,
    "configuration.sharedHome": _INSTALL,
    "configuration.playbooks.knownHosts": "how a server is spoken to that repositories allows",
    "configuration.playbooks.commit": "a commit of a repository that repositories allows",
    "configuration.playbooks.management": "a file of a repository that repositories allows",
    "configuration.playbooks.services": "a file of a repository that repositories allows",
    "verify": "Slurm jobs on the built cluster, which consists of what machines allows",
    "deadlines": _PACE,
    "retries": _PACE,
    "onDelete": "power of machines that machines allows",
}
"""Fields that need no permission, by the beginnings of their paths, and why: they concern only what others name."""
