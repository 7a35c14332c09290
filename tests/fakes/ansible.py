"""Ansible in memory, for tests; behaves like the real one towards its callers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bessemer.errors import Invalid, Retry
from bessemer.machines.ansible import HostOutcome, HostState, PlaybookOutcome, PlaybookRun
from bessemer.machines.clock import Clock


@dataclass(frozen=True)
class FakePlaybook:
    """How a playbook goes, which can't be known without running it."""

    tasks: Mapping[str, float] = field(default_factory=lambda: {"Do something": 0.0})
    """Seconds that each task takes."""
    failed: Mapping[str, HostOutcome] = field(default_factory=dict)
    """The hosts on which it doesn't end well."""
    passed_by: Collection[str] = ()
    """Hosts of the inventory that no play comes to."""
    broken: str = ""
    """What Ansible says of a playbook that it can't run."""


class FakeAnsible:
    """Succeeds on every host of the inventory but for what a test says of a playbook, by its file name."""

    def __init__(self, playbooks: Mapping[str, FakePlaybook] | None = None, clock: Clock | None = None) -> None:
        self.playbooks = playbooks or {}
        self.runs: list[PlaybookRun] = []
        self._clock = clock

    def run(self, run: PlaybookRun, report: Callable[[str], None]) -> PlaybookOutcome:
        """Keep what was asked for, and go as scripted; see Ansible."""
        name = run.playbook.name
        if not run.playbook.is_file():
            raise Invalid("PlaybookMissing", f"there is no playbook {name}")
        self.runs.append(run)
        playbook = self.playbooks.get(name, FakePlaybook())
        if playbook.broken:
            raise Retry("PlaybookBroken", f"{name} ended with exit code 4: {playbook.broken}")
        left = run.timeout_seconds
        for task, seconds in playbook.tasks.items():
            report(task)
            if self._clock is not None:
                self._clock.sleep(0)  # raises if the pod is being stopped
            left -= seconds
            if left < 0:
                raise Retry("PlaybookTimeout", f"{name} didn't end within {run.timeout_seconds:.0f} s: {task}")
        seen = [host for host in list_inventory_hosts(run.inventory) if host not in playbook.passed_by]
        return PlaybookOutcome({host: playbook.failed.get(host, HostOutcome(HostState.OK)) for host in seen})


def list_inventory_hosts(groups: Mapping[str, Any]) -> Iterator[str]:
    """List the hosts of an inventory, group by group."""
    for group in groups.values():
        yield from group.get("hosts") or {}
        yield from list_inventory_hosts(group.get("children") or {})
