"""Installing machines: the loop around ``decide_install`` that BootManagement and BootCompute share.

One round: read the facts (power states, the boot server's journal, SSH probes), decide, act. One powerman command and
one journal read serve all machines of a round; SSH is probed by a bounded pool of threads. The round is short while
things move and longer while they don't.

What an earlier attempt of the phase installed is adopted, if the journal shows that the very same install has finished
and SSH answers; so an evicted pod costs minutes, not a reinstall.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

from bessemer.api.clusterbuild.spec import InstallMethod
from bessemer.errors import Retry
from bessemer.machines.clock import Clock
from bessemer.machines.machine import Machine, SshTarget
from bessemer.machines.netboot.entries import InstallKind
from bessemer.machines.netboot.server import BootEntry, BootEvent, BootServer, BootServerFailed
from bessemer.machines.power.patient import PatientPower
from bessemer.machines.power.protocol import Power, PowerControlRefused, PowerControlUnreachable, PowerState
from bessemer.machines.ssh import Ssh, SshFailure
from bessemer.phases.grouping import NodeOutcome
from bessemer.phases.install_facts import SETTLED, STATE_OF_STEP, Facts, InstallPlan, NodeInstall, Policy, Step
from bessemer.phases.install_plan import decide_install, find_finished, list_silent
from bessemer.phases.probing import Probes

SHORTEST_ROUND_SECONDS = 0.5
LONGEST_ROUND_SECONDS = 2.0
STAGE_BACK_OFF_SECONDS = (1.0, 4.0, 15.0)
BOOT_SERVER_PATIENCE_SECONDS = 120.0
"""So long the boot server may be out of reach before the phase gives up and is tried again as a whole."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InstallClients:
    """The systems that installing needs."""

    power: Power
    boot_server: BootServer
    ssh: Ssh
    clock: Clock
    pool: Executor
    """Bounded threads in which SSH is probed."""


@dataclass(frozen=True)
class InstallJob:
    """The machines to install."""

    kind: InstallKind
    machines: Sequence[Machine]
    targets: Mapping[str, SshTarget]
    """How SSH reaches each machine, by host."""
    policy: Policy
    installed_before: Collection[str] = ()
    """Hosts that the build's status has as installed; they are looked at, but never reinstalled."""


def run_install(
    job: InstallJob, clients: InstallClients, report: Callable[[Sequence[NodeOutcome]], None]
) -> tuple[NodeOutcome, ...]:
    """Install machines until each is installed or has failed; ``report`` is called whenever something changed.

    Raises:
        Retry: the boot server or the machine between us and all others can't be used; all else is the fate of single
            machines.
        Terminated: the pod is being stopped.
    """
    clients.boot_server.prepare()
    run = _Run(job, clients)
    try:
        run.adopt()
        while not run.is_done:
            if run.do_round():
                report(build_outcomes(run.nodes))
            clients.clock.sleep(run.round_seconds)
        return build_outcomes(run.nodes)
    finally:
        run.close()


def build_outcomes(nodes: Sequence[NodeInstall]) -> tuple[NodeOutcome, ...]:
    """Return what became of each machine so far."""
    return tuple(
        NodeOutcome(
            host=node.host,
            state=STATE_OF_STEP[node.step],
            reason=node.reason if node.step is Step.FAILED else None,
            message=node.message if node.step is Step.FAILED else None,
            attempt=node.attempt or None,
        )
        for node in nodes
    )


class _Run:
    """The state of one run: where machines stand, how far the journal was read, which probes are under way."""

    def __init__(self, job: InstallJob, clients: InstallClients) -> None:
        self._job = job
        self._clients = clients
        self._power = PatientPower(clients.power, clients.clock)
        self._machines = {machine.host: machine for machine in job.machines}
        self._sequence = 0
        self._boot_server_seen = clients.clock.now()
        self._probes = Probes(clients.ssh, clients.pool, clients.clock)
        self._complaints: dict[str, str] = {}
        self._to_withdraw: set[str] = set()
        self.round_seconds = SHORTEST_ROUND_SECONDS
        self.nodes: tuple[NodeInstall, ...] = ()

    def close(self) -> None:
        self._probes.close()

    @property
    def is_done(self) -> bool:
        """Whether each machine is installed or has failed, and what the failed ones boot from is taken back."""
        return not self._to_withdraw and all(node.step in SETTLED for node in self.nodes)

    def adopt(self) -> None:
        """Find out what is installed already, by the status and by the journal.

        Raises:
            Retry: the journal can't be read. It would be taken for an empty one, and machines that run for new ones.
        """
        while (events := self._list_events()) is None:
            self._clients.clock.sleep(LONGEST_ROUND_SECONDS)
        finished = find_finished(events)
        now, kind = self._clients.clock.now(), self._job.kind
        nodes = []
        for machine in self._job.machines:
            keep = machine.host in self._job.installed_before
            looked_at = keep or finished.get(machine.host, "").startswith(kind.digest(machine) + "-")
            prefix = kind.label(machine, 0).removesuffix("0")
            step = Step.STARTING if looked_at else Step.WAITING
            if looked_at:
                _log.info("%s: look whether it is still installed", machine.host)
            nodes.append(NodeInstall(machine.host, prefix, step=step, since=now, keep=keep))
        self.nodes = tuple(nodes)
        self._restore_entries([node.host for node in nodes if node.step is Step.STARTING])
        with suppress(
            PowerControlUnreachable, PowerControlRefused
        ):  # reported when a machine must be powered on or off
            self._power.state([machine.host for machine in self._job.machines])  # so that no wave waits for silent ones

    def _restore_entries(self, hosts: Sequence[str]) -> None:
        """Stage stateless machines that run already: Cleanup of a build that failed took what their next boot needs."""
        kind = self._job.kind
        if hosts and kind.install.method == InstallMethod.STATELESS:
            installer = self._clients.boot_server.installer
            self._stage([kind.build_entry(self._machines[host], 0, installer) for host in hosts])

    def do_round(self) -> bool:
        """Read facts, decide and act; tells whether something changed."""
        power, events = self._read_power(), self._list_events()
        facts = Facts(
            power=power,
            complaints=self._complaints,
            events=events or (),
            journal_known=events is not None,
            probes=self._probes.collect(),
            silences=self._explain_silent(),
        )
        self._complaints = {}
        plan = decide_install(self.nodes, facts, self._clients.clock.now(), self._job.policy)
        for reason in plan.reasons:
            _log.info("%s", reason)
        self.nodes = plan.nodes
        self._act(plan)
        starting = [node.host for node in self.nodes if node.step is Step.STARTING]
        self._probes.start({host: self._job.targets[host] for host in starting})
        changed = bool(plan.reasons)
        self.round_seconds = SHORTEST_ROUND_SECONDS if changed else min(LONGEST_ROUND_SECONDS, self.round_seconds * 1.2)
        return changed

    def _act(self, plan: InstallPlan) -> None:
        self._to_withdraw.update(plan.withdraw)
        if self._to_withdraw:
            wanted = sorted(self._to_withdraw)
            if self._use_boot_server(lambda: self._clients.boot_server.withdraw(self._job.kind.build, wanted)):
                self._to_withdraw.clear()
        self._switch(self._power.off, plan.off)
        if plan.stage:
            attempts = {node.host: node.attempt for node in self.nodes}
            installer = self._clients.boot_server.installer
            build_entry = self._job.kind.build_entry
            entries = [build_entry(self._machines[host], attempts[host], installer) for host in plan.stage]
            self._stage(entries)
        self._switch(self._power.on, plan.on)

    def _stage(self, entries: Sequence[BootEntry]) -> None:
        """Stage entries; a boot server that can't is tried a few times, because machines are switched on right after.

        Raises:
            SshFailure, BootServerFailed: it still can't.
        """
        for seconds in STAGE_BACK_OFF_SECONDS:
            try:
                return self._clients.boot_server.stage(entries)
            except (SshFailure, BootServerFailed) as error:
                _log.warning("boot server: %s", error.message)
                self._clients.clock.sleep(seconds)
        return self._clients.boot_server.stage(entries)

    def _switch(self, verb: Callable[[Collection[str]], Mapping[str, str]], hosts: Sequence[str]) -> None:
        """Return a switching command; that it failed shows when states are read back, until then it is a complaint."""
        if not hosts:
            return
        try:
            self._complaints |= verb(hosts)
        except (PowerControlUnreachable, PowerControlRefused) as error:
            self._complaints |= dict.fromkeys(hosts, error.message)

    def _read_power(self) -> Mapping[str, PowerState]:
        """Read the states of the machines whose next step depends on it."""
        hosts = [
            node.host
            for node in self.nodes
            if node.step in (Step.TURNING_OFF, Step.TURNING_ON) or (node.step is Step.STARTING and node.attempt == 0)
        ]
        if not hosts:
            return {}
        try:
            states = self._power.state(hosts)
        except (PowerControlUnreachable, PowerControlRefused) as error:
            self._complaints |= dict.fromkeys(hosts, error.message)
            return {}
        self._complaints |= self._power.explain(hosts)
        return states

    def _explain_silent(self) -> dict[str, str]:
        """Ask what DHCP said of machines that are about to be given up; where it can't be told, nothing is."""
        policy = self._job.policy
        silent = [self._machines[host] for host in list_silent(self.nodes, self._clients.clock.now(), policy)]
        wanted = {machine.mac: machine for machine in silent if machine.mac}
        if not wanted:
            return {}
        addresses = {mac: machine.address for mac, machine in wanted.items()}
        try:
            said = self._clients.boot_server.explain_silence(addresses, policy.deadlines.netboot_seconds + 60)
        except (SshFailure, BootServerFailed) as error:
            _log.warning("boot server: %s", error.message)
            return {}
        return {wanted[mac].host: text for mac, text in said.items()}

    def _list_events(self) -> list[BootEvent] | None:
        """Read what is new in the journal; None where it could not be read, which is not the same as nothing new."""
        events: list[BootEvent] = []

        def read() -> None:
            events.extend(self._clients.boot_server.list_events(self._job.kind.build, self._sequence))

        if not self._use_boot_server(read):
            return None
        self._sequence = max([self._sequence, *(event.sequence for event in events)])
        return events

    def _use_boot_server(self, action: Callable[[], object]) -> bool:
        """Do something on the boot server, and return whether it was done; out of reach for a while, it only delays.

        Raises:
            Retry: it has been out of reach for too long.
        """
        now = self._clients.clock.now()
        try:
            action()
        except (SshFailure, BootServerFailed) as error:
            if now - self._boot_server_seen > BOOT_SERVER_PATIENCE_SECONDS:
                raise Retry("BootServerUnreachable", error.message) from error
            _log.warning("boot server: %s", error.message)
            return False
        self._boot_server_seen = now
        return True
