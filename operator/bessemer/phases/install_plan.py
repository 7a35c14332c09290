"""Deciding what to do next to each machine that is being installed: pure, from facts and the time to a plan.

The steps of one attempt, each with its own deadline:

    off -> wait until off, stage, on -> wait until on -> wait for the network boot -> wait for the installer's end
    -> wait for SSH with the planted host key and our key -> Installed

Staging waits until the machine is off, so that one that happens to reboot just then doesn't use its boot entry up.

Past a deadline, or when the installer reports an error, the next attempt begins with a power cycle, until the
attempts are used up; then the boot entry is withdrawn and the machine is left in its state, so that it can be
examined. Machines are independent: no one's failure touches another. Never more than ``max_concurrent`` are under
way at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bessemer.api.reasons import HOST_KEY_MISMATCH
from bessemer.machines.netboot.server import BootEvent, BootEventKind
from bessemer.machines.power.protocol import PowerState
from bessemer.phases.install_facts import SETTLED, Facts, InstallPlan, NodeInstall, Policy, ProbeKind, Step

REPEAT_POWER_SECONDS = 15.0
"""A switching command without effect is given again after that time: power controls lose some."""
INSTALLER_ERROR = "installer: error: "
"""How the line begins with which our installer gives up (see netboot/installer/init)."""
LOG_TAIL_CHARACTERS = 300
"""How much of the end of an installer's log goes into a message."""


BOOTING = (BootEventKind.SCRIPT, BootEventKind.KERNEL, BootEventKind.INITRD)
"""Requests of the firmware: the machine is on, but Bessemer's installer does not run on it yet."""
START = (BootEventKind.STARTED, BootEventKind.CONFIG)
"""The install has started with whichever is seen first: the installer itself has called."""
OURS = (*BOOTING, *START, BootEventKind.FINISHED, BootEventKind.FAILED)
"""What only a machine that is on can have done."""


def decide_install(nodes: Sequence[NodeInstall], facts: Facts, now: float, policy: Policy) -> InstallPlan:
    """Decide what to do next.

    Args:
        nodes: where each machine stood after the last decision.
        facts: what was seen since; a fact that is missing changes nothing, and what is not known is no ground for
            switching a machine off.
        now: seconds on a clock that never goes back.
        policy: deadlines, attempts and bounds.
    """
    plan = InstallPlan()
    events: dict[str, list[BootEvent]] = {}
    for event in facts.events:
        if event.host:
            events.setdefault(event.host, []).append(event)
    moved = [_Mover(node, facts, events.get(node.host, []), now, policy, plan).move() for node in nodes]
    busy = sum(node.step not in (Step.WAITING, *SETTLED) for node in moved)
    started = []
    for node in moved:
        if node.step is Step.WAITING and facts.journal_known and busy < policy.max_concurrent:
            busy += 1
            started.append(_start_attempt(node, now, plan))
        else:
            started.append(node)
    plan.nodes = tuple(started)
    return plan


def list_silent(nodes: Sequence[NodeInstall], now: float, policy: Policy) -> list[str]:
    """List machines that are about to be given up for never having asked for their boot script."""
    limit = policy.deadlines.netboot_seconds
    return [
        node.host for node in nodes if node.step is Step.NETBOOTING and not node.asked and now - node.since >= limit
    ]


def _start_attempt(node: NodeInstall, now: float, plan: InstallPlan) -> NodeInstall:
    why = f"attempt {node.attempt + 1}" + (f", after {node.reason}" if node.reason else "")
    plan.off.append(node.host)
    plan.reasons.append(f"{node.host}: power off: {why}")
    begun = replace(node, step=Step.TURNING_OFF, attempt=node.attempt + 1, since=now, commanded=now)
    return replace(begun, asked="", asked_for_kernel=False, complaint="")


@dataclass
class _Mover:
    """Moves one machine on as far as the facts allow."""

    node: NodeInstall
    facts: Facts
    events: list[BootEvent]
    now: float
    policy: Policy
    plan: InstallPlan

    def move(self) -> NodeInstall:
        self._note_complaints()
        match self.node.step:
            case Step.WAITING:
                return self._notice_late_finish()
            case Step.TURNING_OFF:
                return self._turn_off()
            case Step.TURNING_ON:
                return self._turn_on()
            case Step.NETBOOTING | Step.INSTALLING:
                return self._follow_install()
            case Step.STARTING:
                return self._start()
        return self.node

    def _note_complaints(self) -> None:
        refused = [f"refused {event.detail}" for event in self.events if event.kind is BootEventKind.REFUSED]
        complaint = self.facts.complaints.get(self.node.host) or (refused[-1] if refused else "")
        if complaint:
            self.node = replace(self.node, complaint=complaint)

    def _notice_late_finish(self) -> NodeInstall:
        """See a machine that has installed the same thing after all, while it waited for its next attempt."""
        digest, _, _ = self.node.label_prefix.partition("-")
        last = [event for event in self.events if event.kind is not BootEventKind.REFUSED][-1:]
        if last and last[0].kind is BootEventKind.FINISHED and (last[0].attempt or "").startswith(f"{digest}-"):
            self._say("wait for SSH: the installer of an earlier attempt has finished")
            return self._step(Step.STARTING)
        return self.node

    def _turn_off(self) -> NodeInstall:
        if self.facts.power.get(self.node.host) is PowerState.OFF:
            self.plan.stage.append(self.node.host)
            self.plan.on.append(self.node.host)
            self._say("stage, power on: it is off")
            return self._step(Step.TURNING_ON, commanded=self.now)
        return self._wait_for_power(self.plan.off, "off")

    def _turn_on(self) -> NodeInstall:
        booted = any(event.attempt == self.node.label and event.kind in OURS for event in self.events)
        if booted or self.facts.power.get(self.node.host) is PowerState.ON:
            self._say("wait for its network boot: it is on")
            self.node = self._step(Step.NETBOOTING)
            return self._follow_install()
        return self._wait_for_power(self.plan.on, "on")

    def _wait_for_power(self, commands: list[str], wanted: str) -> NodeInstall:
        limit = self.policy.deadlines.power_on_seconds
        if self.now - self.node.since >= limit and (self.facts.journal_known or self.node.step is Step.TURNING_OFF):
            read = self.facts.power.get(self.node.host, PowerState.UNKNOWN)
            return self._fail("NeverPoweredOn", f"power control reads {read}, not {wanted}, after {limit} s")
        if self.now - self.node.commanded >= REPEAT_POWER_SECONDS:
            commands.append(self.node.host)
            self._say(f"power {wanted} again: no effect in {REPEAT_POWER_SECONDS:g} s")
            return replace(self.node, commanded=self.now)
        return self.node

    def _follow_install(self) -> NodeInstall:
        deadlines = self.policy.deadlines
        for event in (event for event in self.events if event.attempt == self.node.label):
            if event.kind is BootEventKind.FAILED:
                return self._fail("InstallFailed", "the installer reports: " + _summarise(event.detail))
            if event.kind is BootEventKind.FINISHED:
                self._say("wait for SSH: the installer has finished")
                self.node = self._step(Step.STARTING)
                return self._start()
            if self.node.step is Step.NETBOOTING and event.kind in BOOTING:
                self._note_asked(event)
            if self.node.step is Step.NETBOOTING and event.kind in START:
                self._say("wait for the install to end: the installer called back")
                self.node = self._step(Step.INSTALLING)
        waited = self.now - self.node.since if self.facts.journal_known else 0.0
        if self.node.step is Step.NETBOOTING and waited >= deadlines.netboot_seconds:
            asked = self.node.asked or "didn't ask for its boot script"
            silence = self.facts.silences.get(self.node.host)
            if silence and not self.node.asked and not self.node.complaint:
                self.node = replace(self.node, complaint=silence)
            return self._fail("NeverNetbooted", f"{asked} within {deadlines.netboot_seconds} s")
        if self.node.step is Step.INSTALLING and waited >= deadlines.install_seconds:
            return self._fail("InstallStalled", f"the installer didn't finish within {deadlines.install_seconds} s")
        return self.node

    def _note_asked(self, event: BootEvent) -> None:
        """Remember how far the firmware is; from its first kernel on, the installer has the whole time to call back."""
        if event.kind is not BootEventKind.SCRIPT or not self.node.asked:
            self.node = replace(self.node, asked=_explain_asked(event))
        if event.kind is BootEventKind.KERNEL and not self.node.asked_for_kernel:
            self._say("wait for the installer's call: it asks for its kernel")
            self.node = replace(self.node, asked_for_kernel=True, since=self.now)

    def _start(self) -> NodeInstall:
        probe = self.facts.probes.get(self.node.host)
        limit = self.policy.deadlines.reachable_seconds
        if probe is not None and probe.kind is ProbeKind.ANSWERS:
            self._say("installed: SSH " + probe.kind)
            return replace(self._step(Step.INSTALLED), reason=None, message="", attempt=max(1, self.node.attempt))
        if probe is not None:
            self.node = replace(self.node, complaint=probe.detail or probe.kind)
        if self.node.attempt == 0 and self.facts.power.get(self.node.host) is PowerState.OFF:
            return self._fail("NeverReachable", "installed by an earlier attempt, but switched off")
        if probe is not None and probe.kind is ProbeKind.UNKNOWN:  # the probe was not possible: the time starts again
            return replace(self.node, since=self.now)
        if self.now - self.node.since < limit or probe is None:
            return self.node
        if probe.kind is ProbeKind.WRONG_HOST_KEY:
            return self._fail(HOST_KEY_MISMATCH, f"another host key for {limit} s")
        return self._fail("NeverReachable", f"SSH didn't answer within {limit} s")

    def _fail(self, reason: str, message: str) -> NodeInstall:
        """End this attempt; another one follows as soon as it is the machine's turn, if any is left."""
        node = self.node
        if node.complaint and node.complaint not in message:
            message = f"{message} ({node.complaint})"
        if node.attempt < self.policy.node_attempts and not node.keep:
            self._say(f"try again: {reason}: {message}")
            return replace(self._step(Step.WAITING), reason=reason, message=message)
        if not node.keep:  # one that may only be down for a while needs what it boots from
            self.plan.withdraw.append(node.host)
        self._say(f"give up: {reason}: {message}")
        return replace(self._step(Step.FAILED), reason=reason, message=message)

    def _step(self, step: Step, commanded: float | None = None) -> NodeInstall:
        at = self.node.commanded if commanded is None else commanded
        return replace(self.node, step=step, since=self.now, commanded=at, complaint="")

    def _say(self, what: str) -> None:
        self.plan.reasons.append(f"{self.node.host}: {what}")


def find_finished(events: Sequence[BootEvent]) -> dict[str, str]:
    """Tell from a whole journal which hosts have finished an install and not begun another since, with its label."""
    finished: dict[str, str] = {}
    for event in events:
        if event.host and event.kind is BootEventKind.FINISHED and event.attempt:
            finished[event.host] = event.attempt
        elif event.host and event.kind in (BootEventKind.STAGED, BootEventKind.STARTED):
            finished.pop(event.host, None)
    return finished


def _explain_asked(event: BootEvent) -> str:
    """Return how far the firmware is, as what comes before "within 300 s"."""
    if event.kind is BootEventKind.SCRIPT:
        return "asked for its boot script, but not for its kernel"
    if event.kind is BootEventKind.KERNEL:
        return "asked for its kernel, but not for its initial RAM disk"
    number, _, count = event.detail.partition(" of ")
    if number != count:
        return f"asked for initial RAM disk {event.detail}, but not for the next"
    return "asked for kernel and initial RAM disk, but the installer didn't call back"


def _summarise(log: str) -> str:
    """Return what the end of an installer's log says of its error, as one line: the error, and what programs said last.

    Our installer marks its own lines; those that only tell its progress are left out.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line.removeprefix(INSTALLER_ERROR) for line in lines if line.startswith(INSTALLER_ERROR)]
    said = [line for line in lines if not line.startswith("installer: ")]
    return " / ".join([*errors[-1:], *said[-3:]])[:LOG_TAIL_CHARACTERS] or "(nothing)"
