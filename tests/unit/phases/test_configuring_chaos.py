"""Every call of the phases that configure and verify fails, at any moment and in any way that is documented of
OpenSSH, Slurm and ansible-runner: each phase ends in time with a reason that is documented, and says of no node more
than is known."""

from __future__ import annotations

import io
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import ansible_runner
import pexpect
import pytest
import yaml
from ansible_runner.exceptions import AnsibleRunnerException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bessemer.api.phase_contract import TERMINATION_MESSAGE_LIMIT, NodeState, PhaseInput, PhaseName, PhaseResult
from bessemer.foreign import make_text
from bessemer.machines.ansible import AnsibleRunner
from bessemer.machines.machine import SshTarget
from bessemer.machines.slurm import SshSlurm
from bessemer.machines.ssh import CommandResult, HostKeyMismatch, ShellUnusable, SshRefused, SshTimeout, SshUnreachable
from bessemer.machines.ssh_files import SshFiles
from bessemer.phases import __main__ as process
from bessemer.phases.context import Directories
from bessemer.phases.grouping import build_termination_message, parse_node_groups
from tests.fakes.ansible import list_inventory_hosts
from tests.support.checkout import ROOT
from tests.support.examples import examples, spread
from tests.unit.phases.cluster_fakes import HOST_KEY, FakeContext, build_input, build_spec
from tests.unit.phases.slurm_host import SlurmHost

PHASE_SECONDS = 1800
REASONS = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/user/reasons.md").read_text(), re.MULTILINE))
HOSTS = ("oxygen2", "oxygen3", "oxygen4", "oxygen5")
GARBAGE = "\x1b]0;x\x07\u2028[[[" * 40 + "\x00|||\n\ud800"
DEEP: list[Any] = []
for _ in range(5000):
    DEEP = [DEEP]

RAISED = (
    *(AnsibleRunnerException("stdout missing"), pexpect.TIMEOUT("x"), OSError(28, "No space left on device")),
    *(json.JSONDecodeError("Expecting value", "{", 1), RecursionError("maximum recursion depth exceeded")),
)
"""What ansible-runner lets out: a killed Ansible leaves half an event, a site's module one that nests without end."""

Call = Callable[[], CommandResult]


@dataclass(frozen=True)
class Fault:
    """How one call goes wrong; ``size`` says how much of it."""

    name: str
    size: int = 0


SSH_FAULTS = ("unreachable", "lost", "timeout", "refused", "key", "shell", "garbage", "cut", "exit", "killed", "stop")
ANSIBLE_FAULTS = (
    *("timeout", "broken", "killed", "killed late", "unknown error", "raises", "stop", "late failure"),
    *("failed", "dark", "garbage", "cut", "odd events", "jump", "strangers"),
)


class InventoryLoader(yaml.CSafeLoader):
    """Reads what is written for Ansible."""


InventoryLoader.add_constructor("!unsafe", lambda _, node: node.value)


@dataclass
class World:
    """A cluster whose programs fail as ``decide`` says of each call, by its number."""

    context: FakeContext
    decide: Callable[[int, str], Fault | None]
    calls: int = 0
    host: SlurmHost = field(init=False)
    done: dict[str, list[set[str]]] = field(default_factory=dict)
    """By playbook, the hosts on which each of its runs went well."""

    def __post_init__(self) -> None:
        self.host = SlurmHost(self.context.clock, dict.fromkeys(HOSTS, "idle"), disturb=self.disturb)

    def next_fault(self, kind: str) -> Fault | None:
        self.calls += 1
        return self.decide(self.calls, kind)

    def disturb(self, call: Call) -> CommandResult:
        """Let a command happen or not, and answer something."""
        fault, clock = self.next_fault("ssh"), self.context.clock
        if fault is None:
            return call()
        match fault.name:
            case "unreachable" | "refused" | "key" | "shell":
                clock.time += 10
                kinds = {"refused": SshRefused, "key": HostKeyMismatch, "shell": ShellUnusable}
                raise kinds.get(fault.name, SshUnreachable)("oxygen1: made to fail")
            case "lost":
                call()
                raise SshUnreachable("oxygen1: connection lost")
            case "timeout":
                call()
                clock.time += 60
                raise SshTimeout("oxygen1: a command didn't end within 60 s")
            case "garbage":
                return CommandResult(0, GARBAGE * (1 + fault.size % 3000), "")
            case "cut":
                said = call()
                return CommandResult(said.exit_code, said.stdout[: len(said.stdout) * fault.size % 997 // 10], "")
            case "exit":
                return CommandResult(1 + fault.size % 255, "", f"error: Unable to contact slurm controller {GARBAGE}")
            case "killed":
                return CommandResult(137, call().stdout, "")
            case _:
                clock.stop_at = clock.now()
                return call()

    def run_ansible(self, **told: Any) -> Any:
        """Stand for ansible_runner.run."""
        fault, clock = self.next_fault("ansible") or Fault("none"), self.context.clock
        name, limit = Path(told["playbook"]).stem, float(told["settings"]["job_timeout"])
        hosts = set(list_inventory_hosts(yaml.load(Path(told["inventory"]).read_text(), InventoryLoader)))  # noqa: S506
        clock.time += {"timeout": limit, "late failure": limit - 1}.get(fault.name, 1.0)
        bad = {sorted(hosts)[fault.size % len(hosts)]}
        seen = {host for host in hosts if host not in bad} if fault.name == "cut" else hosts
        failing = fault.name in ("failed", "dark", "late failure", "garbage")
        ended = fault.name in ("none", "failed", "dark", "late failure", "odd events", "strangers", "cut", "jump")
        self.done.setdefault(name, []).append(seen - (bad if failing else set()) if ended else set())
        if fault.name == "raises":
            raise RAISED[fault.size % len(RAISED)]
        if fault.name == "stop":
            clock.stop_at = clock.now()
            return Ended("canceled" if told["cancel_callback"]() else "successful", 254)
        for event in self.build_events(fault, seen, bad):
            told["event_handler"](event)
        status = {"timeout": "timeout", "none": "successful"}.get(fault.name, "failed")
        codes = {"timeout": 254, "broken": (1, 4, 5, 250)[fault.size % 4], "killed": None, "killed late": None}
        codes |= {"unknown error": (1, 250, 255)[fault.size % 3], "failed": 2, "late failure": 2, "dark": 4}
        return Ended(status, codes.get(fault.name, 0))

    def build_events(self, fault: Fault, seen: set[str], bad: set[str]) -> list[Any]:
        """Return the events of a run."""
        events: list[Any] = [{"event": "playbook_on_task_start", "event_data": {"task": GARBAGE}}]
        stats: dict[str, Any] = {"processed": dict.fromkeys(seen, 1)}
        said: Any = {"msg": GARBAGE * 100, "stderr": DEEP, "results": DEEP}
        match fault.name:
            case "failed" | "late failure":
                events += [{"event": "runner_on_failed", "event_data": {"host": host, "res": said}} for host in bad]
                stats["failures"] = dict.fromkeys(bad, 1)
            case "dark":
                events += [
                    {"event": "runner_on_unreachable", "event_data": {"host": host, "res": DEEP}} for host in bad
                ]
                stats["dark"] = dict.fromkeys(bad, 1)
            case "odd events":
                odd: list[Any] = [None, [], "x", DEEP, {"host": DEEP, "task": DEEP, "res": [1]}, {"host": 7}]
                events += [{"event": "runner_on_failed", "event_data": data} for data in odd]
                events += [{"event": DEEP}, {}]
            case "strangers":
                names = {
                    "": 1,
                    "a b[": 1,
                    "x" * 9000: 1,
                    GARBAGE: 1,
                    "localhost": 1,
                    **{f"z{n}y": 1 for n in range(500)},
                }
                stats |= {"failures": names, "processed": {**stats["processed"], **names}}
            case "garbage":
                stats = {"processed": GARBAGE, "ok": [DEEP], "failures": DEEP, "dark": None}
            case "timeout" | "broken" | "killed":
                return events
        return [*events, {"event": "playbook_on_stats", "event_data": stats}]

    def connect(self, *_: object, **told: Any) -> None:
        """Stand for the ssh that opens the connection for jumps."""
        fault = self.next_fault("jump")
        if fault is not None:
            self.context.clock.time += told["timeout"]
            raise subprocess.TimeoutExpired("ssh", told["timeout"])


@dataclass
class Ended:
    """What ansible-runner leaves."""

    status: str
    rc: int | None

    @property
    def stdout(self) -> io.StringIO:
        return io.StringIO(GARBAGE)


def make_input(phase: PhaseName, *, min_ready: str, removed: bool) -> PhaseInput:
    before = NodeState.CONFIGURED if phase is PhaseName.VERIFY else NodeState.INSTALLED
    spec = build_spec(compute={"minReady": min_ready}, deadlines={"phaseSeconds": PHASE_SECONDS})
    remove = "oxygen9" if removed and phase is PhaseName.CONFIGURE_MANAGEMENT else None
    return build_input(phase, [("oxygen[2-5]", before, None)], spec=spec, remove_hosts=remove)


def run_phase(
    phase_input: PhaseInput, folder: Path, decide: Callable[[int, str], Fault | None], **states: str
) -> tuple[World, PhaseResult]:
    """Run a phase as its pod does, with all of our own code, and check what holds of every result."""
    context = FakeContext()
    world = World(context, decide)
    world.host.states.update(states)
    management = context.targets["oxygen1"]
    targets = {host: SshTarget(host, "10.141.0.2", HOST_KEY, jump=management) for host in HOSTS}
    files = SshFiles(folder / "ssh_config", folder / "known_hosts", folder / "key")
    clients = {
        "ansible": AnsibleRunner(folder, files, "oxygen1", context.clock),
        "slurm": SshSlurm(world.host, management, targets),  # type: ignore[arg-type]  # the fake has what is asked for
        "close": lambda: None,
    }
    context.__dict__.update(clients)
    (folder / "input.json").write_text(phase_input.model_dump_json(by_alias=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BESSEMER_PLAYBOOKS", str(ROOT / "playbooks"))
        patch.setattr(ansible_runner, "run", world.run_ansible)
        patch.setattr(subprocess, "run", world.connect)
        patch.setattr(process, "PhaseContext", lambda *_: context)
        result = process.run_phase(phase_input.phase, Directories(input=folder), context.clock)  # type: ignore[arg-type]  # a clock of tests
    check(world, phase_input, result)
    return world, result


def check(world: World, phase_input: PhaseInput, result: PhaseResult) -> None:
    message = build_termination_message(result)
    assert len(message) <= TERMINATION_MESSAGE_LIMIT
    assert PhaseResult.model_validate_json(message) == result
    assert world.context.clock.now() <= PHASE_SECONDS
    said = [result.reason, *(group.reason for group in result.nodes if group.reason)]
    assert set(said) <= REASONS - {"InternalError"}
    texts = [result.message, *(group.message or "" for group in result.nodes), *(job.message for job in result.jobs)]
    assert all(text == make_text(text, 4096) for text in texts)
    assert result.succeeded or result.message
    assert "Traceback" not in result.message
    groups = parse_node_groups(result.nodes, HOSTS)
    assert set(groups) <= set(HOSTS)
    good = {host for host, group in groups.items() if group.state is not NodeState.FAILED}
    assert good <= list_proven(world, phase_input.phase)
    if result.succeeded and phase_input.phase is PhaseName.CONFIGURE_MANAGEMENT:
        assert "oxygen1" in world.done["configure_management"][-1]
    if result.succeeded and phase_input.phase is PhaseName.CONFIGURE_SERVICES:
        assert "oxygen1" in world.done["configure_services"][-1]


def list_proven(world: World, phase: PhaseName) -> set[str]:
    """List the nodes of which the phase can know that they are good."""
    if phase is PhaseName.CONFIGURE_SERVICES:
        return set.intersection(set(HOSTS), *world.done.get("configure_services", [set()]))
    if phase is PhaseName.VERIFY:
        ran = [job for job in world.host.jobs.values() if job.taken and not job.cancelled]
        return {host for host in HOSTS if world.host.states[host] == "idle" and any(host in job.nodes for job in ran)}
    return set()


PHASES = (PhaseName.CONFIGURE_MANAGEMENT, PhaseName.CONFIGURE_SERVICES, PhaseName.VERIFY)


@pytest.mark.parametrize("phase", PHASES)
def test_without_a_fault_each_phase_succeeds(phase: PhaseName, tmp_path: Path) -> None:
    phase_input = make_input(phase, min_ready="100%", removed=True)
    world, result = run_phase(phase_input, tmp_path, lambda *_: None, oxygen9="idle")
    assert result.succeeded
    assert world.host.drained == ({"oxygen9"} if phase is PhaseName.CONFIGURE_MANAGEMENT else set())


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("phase", PHASES)
def test_one_call_or_all_from_one_on_fail_in_each_way(phase: PhaseName, lasting: bool, tmp_path: Path) -> None:
    phase_input = make_input(phase, min_ready="50%", removed=True)
    calls = run_phase(phase_input, tmp_path, lambda *_: None, oxygen9="idle")[0].calls
    faults = {"ssh": SSH_FAULTS, "ansible": ANSIBLE_FAULTS, "jump": ("hangs",)}
    for first, place in spread(list(product(range(1, calls + 1), range(max(map(len, faults.values())))))):

        def decide(number: int, kind: str, first: int = first, place: int = place) -> Fault | None:
            hit = number >= first if lasting else number == first
            return Fault(faults[kind][place % len(faults[kind])], first + place) if hit else None

        run_phase(phase_input, tmp_path, decide, oxygen4="idle*", oxygen9="mixed")


faults_of_all_kinds = st.builds(Fault, st.sampled_from((*SSH_FAULTS, *ANSIBLE_FAULTS)), st.integers(0, 10**6))


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(PHASES),
    st.sampled_from(["25%", "100%"]),
    st.dictionaries(st.integers(1, 30), faults_of_all_kinds, max_size=8),
    st.none() | st.tuples(st.integers(1, 30), faults_of_all_kinds),
    st.sampled_from(["idle", "idle*", "down", "drain"]),
)
def test_faults_in_any_combination(
    tmp_path: Path,
    phase: PhaseName,
    min_ready: str,
    some: dict[int, Fault],
    lasting: tuple[int, Fault] | None,
    state: str,
) -> None:
    known = {"ssh": SSH_FAULTS, "ansible": ANSIBLE_FAULTS, "jump": ANSIBLE_FAULTS}

    def decide(number: int, kind: str) -> Fault | None:
        found = some.get(number) or (lasting[1] if lasting and number >= lasting[0] else None)
        return found if found and found.name in known[kind] else None

    run_phase(make_input(phase, min_ready=min_ready, removed=True), tmp_path, decide, oxygen4=state, oxygen9="mixed")
