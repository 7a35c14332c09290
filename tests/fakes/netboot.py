"""A boot server in memory, for tests; towards its callers and its machines it behaves like the real one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bessemer.machines.netboot.server import BootEntry, BootEvent, BootEventKind, BootServerFailed, Withdrawn

FINAL = (BootEventKind.FINISHED, BootEventKind.FAILED)
INSTALLS = (BootEventKind.STARTED, BootEventKind.CONFIG, *FINAL)
MAX_BOOTS = 5
"""So often a machine may begin one install again before its installer calls back."""


class FakeBootServer:
    """Entries by host; ``boot`` and ``report`` are what a machine does. ``broken`` makes every call fail."""

    installer = "/fake/installer.cpio.gz"

    def __init__(self) -> None:
        self.entries: dict[str, BootEntry] = {}
        self.wanted: set[str] = set()
        self.armed: set[str] = set()
        self.boots: dict[str, int] = {}
        self.seen: dict[str, list[BootEventKind]] = {}
        self.journal: list[tuple[str, BootEvent]] = []
        self.silences: dict[str, str] = {}
        """What DHCP says of machines, by MAC address."""
        self.prepared = False
        self.broken = False

    def prepare(self) -> None:
        """Start; see BootServer."""
        self._check()
        self.prepared = True

    def stage(self, entries: Sequence[BootEntry]) -> None:
        """Keep entries; see BootServer."""
        self._check()
        for entry in entries:
            host = entry["host"]
            known = host in self.entries
            self.entries[host] = entry
            self.wanted.add(host)
            if entry["armed"] or not known:
                self.armed.discard(host)
                self.armed.update([host] if entry["armed"] else [])
                self.seen[host], self.boots[host] = [], 0
            self._record(entry["host"], BootEventKind.STAGED if entry["armed"] else BootEventKind.RESTORED)

    def withdraw(
        self, build: str, hosts: Collection[str] | None = None, keep_persistent: Collection[str] = ()
    ) -> Withdrawn:
        """Forget entries; see BootServer."""
        self._check()
        gone = [
            host
            for host, entry in self.entries.items()
            if entry["build"] == build
            and (hosts is None or host in hosts)
            and not (entry["persistent"] and host in keep_persistent)
        ]
        for host in gone:
            self._record(host, BootEventKind.WITHDRAWN)
            del self.entries[host]
            self.wanted.discard(host)
        return Withdrawn(tuple(gone), len(self.entries))

    def list_events(self, build: str, since: int) -> list[BootEvent]:
        """Return the journal; see BootServer."""
        self._check()
        return [event for owner, event in self.journal if owner == build and event.sequence > since]

    def explain_silence(self, machines: Mapping[str, str], seconds: float) -> dict[str, str]:  # noqa: ARG002  no time here
        """Return what was said of them; see BootServer."""
        self._check()
        return {mac: text for mac, text in self.silences.items() if mac in machines}

    def release(self) -> None:
        """Stop if nothing is staged; see BootServer."""
        self._check()
        self.prepared = self.prepared and bool(self.entries)

    def boot(self, host: str) -> bool:
        """Have a machine boot from the network; if it gets a script, it fetches a kernel too. Returns whether it did.

        Raises nothing.
        """
        if host in self.entries and self.entries[host]["persistent"]:
            self.armed.add(host)  # DHCP has seen it boot
            self.boots[host] = 0
        if not self.ask(host):
            return False
        self._use(host, BootEventKind.KERNEL)
        return True

    def ask(self, host: str) -> bool:
        """Ask for a machine's boot script from its address, as any of its users can. Returns whether there is one."""
        if host not in self.wanted:
            return False
        persistent = self.entries[host]["persistent"]
        if persistent and host not in self.armed:
            self._record(host, BootEventKind.REFUSED, "script: it has not booted from the network since")
            return False
        self.boots[host] += 1
        if self.boots[host] > MAX_BOOTS:
            self.armed.discard(host)
            self.wanted.intersection_update([] if not persistent else self.wanted)
            self._record(host, BootEventKind.REFUSED, f"script: {MAX_BOOTS} boots, and the installer never called back")
            return False
        if persistent:
            self.seen[host] = []
        self._record(host, BootEventKind.SCRIPT)
        return True

    def report(self, host: str, kind: BootEventKind, detail: str = "") -> bool:
        """Have a machine's installer fetch its configuration or call back; returns whether that was accepted."""
        seen = self.seen.get(host, [])
        used_up = any(final in seen for final in FINAL) or kind in seen
        if host not in self.entries or used_up:
            if host in self.entries:
                self._record(host, BootEventKind.REFUSED, f"{kind}: used up")
            return False
        self._use(host, kind, detail)
        return True

    def _use(self, host: str, kind: BootEventKind, detail: str = "") -> None:
        self.seen[host].append(kind)
        if not self.entries[host]["persistent"] and kind in INSTALLS:
            self.wanted.discard(host)
        if kind is BootEventKind.CONFIG:
            self.armed.discard(host)
            self.boots[host] = 0
        self._record(host, kind, detail)

    def _record(self, host: str, kind: BootEventKind, detail: str = "") -> None:
        entry = self.entries[host]
        event = BootEvent(len(self.journal) + 1, kind, host, entry["attempt"], detail, entry["address"])
        self.journal.append((entry["build"], event))

    def _check(self) -> None:
        if self.broken:
            raise BootServerFailed("the boot server is made to fail")
