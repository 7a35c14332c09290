"""What the install loop knows of machines, and what it may do: data alone, see install_plan.py for the decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bessemer.api.clusterbuild.limits import Deadlines
from bessemer.api.phase_contract import NodeState
from bessemer.machines.netboot.server import BootEvent
from bessemer.machines.power.protocol import PowerState


class Step(StrEnum):
    """What a machine is waiting for."""

    WAITING = "waiting for its turn"
    TURNING_OFF = "power off"
    TURNING_ON = "power on"
    NETBOOTING = "network boot"
    INSTALLING = "end of the install"
    STARTING = "SSH"
    INSTALLED = "nothing: it is installed"
    FAILED = "nothing: it has failed"


STATE_OF_STEP: Mapping[Step, NodeState] = {
    Step.WAITING: NodeState.PENDING,
    Step.TURNING_OFF: NodeState.POWERING_ON,
    Step.TURNING_ON: NodeState.POWERING_ON,
    Step.NETBOOTING: NodeState.NETBOOTING,
    Step.INSTALLING: NodeState.INSTALLING,
    Step.STARTING: NodeState.STARTING,
    Step.INSTALLED: NodeState.INSTALLED,
    Step.FAILED: NodeState.FAILED,
}
SETTLED = (Step.INSTALLED, Step.FAILED)


class ProbeKind(StrEnum):
    """What an SSH probe found."""

    ANSWERS = "answers with the planted host key"
    UNREACHABLE = "unreachable"
    WRONG_HOST_KEY = "wrong host key"
    REFUSED = "refused our key"
    UNKNOWN = "not known: the machine between us and it can't be used"


@dataclass(frozen=True)
class Probe:
    """Result of one SSH probe."""

    kind: ProbeKind
    detail: str = ""


@dataclass(frozen=True)
class NodeInstall:
    """Where the install of one machine stands."""

    host: str
    label_prefix: str
    """Labels of attempts of this phase attempt are this and the number of the attempt."""
    step: Step = Step.WAITING
    attempt: int = 0
    """Number of the attempt; 0: none yet, what an earlier phase attempt installed is being looked at."""
    since: float = 0.0
    """When the step began."""
    commanded: float = 0.0
    """When power was last commanded."""
    keep: bool = False
    """Never reinstall: it was ready before, and may only be down for a while."""
    reason: str | None = None
    """Why the last attempt failed."""
    message: str = ""
    asked: str = ""
    """What it has asked the boot server for since it was switched on, as the end of a sentence."""
    asked_for_kernel: bool = False
    complaint: str = ""
    """The last thing that power control, the boot server or SSH said about it."""

    @property
    def label(self) -> str:
        """The label by which the journal names this attempt."""
        return f"{self.label_prefix}{self.attempt}"


@dataclass(frozen=True)
class Facts:
    """What was seen of all machines since the last decision."""

    power: Mapping[str, PowerState] = field(default_factory=dict)
    complaints: Mapping[str, str] = field(default_factory=dict)
    """What power control complained of, by machine."""
    events: Sequence[BootEvent] = ()
    probes: Mapping[str, Probe] = field(default_factory=dict)
    silences: Mapping[str, str] = field(default_factory=dict)
    """What DHCP said of machines that never asked for their boot script, where that is known."""
    journal_known: bool = True
    """Whether ``events`` is all that has happened. Where the journal could not be read, machines may be further than
    is known: then none is past a deadline, and no attempt begins."""


@dataclass(frozen=True)
class Policy:
    """How long and how often."""

    deadlines: Deadlines
    node_attempts: int
    max_concurrent: int


@dataclass
class InstallPlan:
    """What to do now, in this order: withdraw, off, stage, on."""

    nodes: tuple[NodeInstall, ...] = ()
    """Where each machine stands after what was decided."""
    withdraw: list[str] = field(default_factory=list)
    off: list[str] = field(default_factory=list)
    stage: list[str] = field(default_factory=list)
    on: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """One line for each decision: machine, what, why."""
