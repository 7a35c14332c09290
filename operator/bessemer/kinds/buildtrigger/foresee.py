"""What a build would do to which machine, compared with the ClusterBuild that is there. Pure.

A machine is installed again if its install settings or its MAC address change; everything else of a spec only
configures machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bessemer.api.clusterbuild.spec import ClusterBuildSpec, Install
from bessemer.errors import Invalid
from bessemer.machines.hostlists import build_hostlist
from bessemer.machines.machine import parse_compute_machines


@dataclass(frozen=True)
class Foreseen:
    """What a build would do to the machines of one cluster; each a hostlist, empty for none."""

    name: str
    new: bool
    """Whether there is no such ClusterBuild yet."""
    added: str = ""
    removed: str = ""
    reinstalled: str = ""
    untouched: str = ""
    configured: tuple[str, ...] = ()
    """Parts of the spec that change without a new install, such as services."""

    def describe(self) -> str:
        """Return it as one line."""
        if self.new:
            configured = f", configures {self.untouched}" if self.untouched else ""
            return f"{self.name}: new; installs {self.added}{configured}"
        parts = [
            f"{word} {hosts}"
            for word, hosts in (
                ("adds", self.added),
                ("removes", self.removed),
                ("installs again", self.reinstalled),
                ("leaves", self.untouched),
            )
            if hosts
        ]
        changed = f"; changes {', '.join(self.configured)}" if self.configured else ""
        return f"{self.name}: {', '.join(parts)}{changed}"


def foresee(name: str, before: ClusterBuildSpec | None, after: ClusterBuildSpec) -> Foreseen:
    """Return what applying ``after`` would do where ``before`` was applied; None: there is no such ClusterBuild.

    Raises Invalid for hosts, addresses and MAC addresses of ``after`` that do not fit together.
    """
    wanted = _list_machines(after)
    try:
        found = _list_machines(before) if before is not None else {}
    except Invalid:
        found = {}  # what is there can't be used, so nothing of it is installed
    same = [host for host, settings in wanted.items() if found.get(host, settings) == settings]
    installed = [host for host, (_, install) in wanted.items() if install is not None]
    added = [host for host in wanted if host not in found]
    return Foreseen(
        name=name,
        new=before is None,
        added=build_hostlist([host for host in added if host in installed]),
        removed=build_hostlist([host for host in found if host not in wanted]),
        reinstalled=build_hostlist([host for host in wanted if host not in same]),
        untouched=build_hostlist([host for host in same if host in found or host not in installed]),
        configured=_list_changes(before, after) if before is not None else (),
    )


def _list_machines(spec: ClusterBuildSpec) -> Mapping[str, tuple[str | None, Install | None]]:
    """Return MAC address and install settings of each machine; without settings, it is not installed."""
    management = spec.management
    install = management.install if management.provision else None
    own = {management.host: (management.mac.lower() if management.mac else None, install)}
    compute = {machine.host: (machine.mac, spec.compute.install) for machine in parse_compute_machines(spec)}
    return own | compute


def _list_changes(before: ClusterBuildSpec, after: ClusterBuildSpec) -> tuple[str, ...]:
    old, new = before.to_api(), after.to_api()
    return tuple(sorted(part for part in {*old, *new} - {"compute", "management"} if old.get(part) != new.get(part)))
