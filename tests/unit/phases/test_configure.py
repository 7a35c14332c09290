"""ConfigureManagement and ConfigureServices: which hosts are dealt with, and what their failures mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bessemer.api.phase_contract import NodeGroup, NodeState, PhaseInput, PhaseName
from bessemer.errors import Invalid, Retry
from bessemer.machines.ansible import HostOutcome, HostState, PlaybookOutcome, PlaybookRun
from bessemer.machines.clock import Terminated
from bessemer.machines.slurm import SlurmNode
from bessemer.phases import configure_management, configure_services
from bessemer.phases.configure import add_outcomes, find_site_playbook
from bessemer.phases.configure_management import drain
from bessemer.phases.daemon_logs import GROUP, PLAYBOOK
from bessemer.phases.deadline import Deadline
from tests.fakes.ansible import FakeAnsible, FakePlaybook
from tests.fakes.slurm import FakeSlurm
from tests.support.checkout import ROOT
from tests.unit.phases.cluster_fakes import (
    HOST_KEY,
    FakeContext,
    FakeDirectories,
    VirtualClock,
    build_input,
    build_spec,
    hosts_of,
)

BROKEN = HostOutcome(HostState.FAILED, "Install munge: no package munge")
GONE = HostOutcome(HostState.UNREACHABLE, "Gathering Facts: Connection timed out")
SERVICES = "configure_services.yml"
MANAGEMENT = "configure_management.yml"
OWN = {"repository": "https://git/site", "commit": "a" * 40, "management": "m.yml", "services": "s.yml"}


@pytest.fixture(autouse=True)
def our_playbooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BESSEMER_PLAYBOOKS", str(ROOT / "playbooks"))


def failing(playbooks: Mapping[str, Mapping[str, HostOutcome]]) -> FakeAnsible:
    """Ansible with playbooks that fail on some hosts."""
    return FakeAnsible({name: FakePlaybook(failed=hosts) for name, hosts in playbooks.items()})


def services_input(min_ready: str = "100%", **changes: Any) -> PhaseInput:
    spec = build_spec(compute={"minReady": min_ready}, **changes)
    return build_input(PhaseName.CONFIGURE_SERVICES, [("oxygen[2-5]", NodeState.INSTALLED, None)], spec=spec)


def management_input(**changes: Any) -> PhaseInput:
    return build_input(PhaseName.CONFIGURE_MANAGEMENT, [], **changes)


def site(tmp_path: Path, *names: str) -> FakeDirectories:
    for name in names:
        (tmp_path / name).touch()
    return FakeDirectories(tmp_path)


def runs_of(context: FakeContext) -> list[PlaybookRun]:
    """What was run, without what asks what went wrong."""
    return [run for run in context.ansible.runs if run.playbook.name != PLAYBOOK]


def playbooks_of(context: FakeContext) -> list[str]:
    return [run.playbook.name for run in runs_of(context)]


def test_what_daemons_say_is_told_of_the_hosts_that_failed_and_of_no_other() -> None:
    waits = HostOutcome(HostState.FAILED, "Wait until the controller answers: non-zero return code")
    says = HostOutcome(HostState.FAILED, "Daemons: slurmctld does not run, its log says: fatal: CLUSTER NAME MISMATCH.")
    context = FakeContext(failing({MANAGEMENT: {"oxygen1": waits}, PLAYBOOK: {"oxygen1": says, "oxygen2": says}}))
    result = configure_management.run(management_input(), context.as_context())
    assert result.message == (
        "oxygen1: Wait until the controller answers: non-zero return code; "
        "slurmctld does not run, its log says: fatal: CLUSTER NAME MISMATCH."
    )
    asked = context.ansible.runs[-1]
    assert asked.inventory["all"]["children"][GROUP] == {"hosts": {"oxygen1": {}}}
    assert asked.secret_files == {}


@pytest.mark.parametrize("playbook", [FakePlaybook(broken="x"), FakePlaybook({"Read": 9999}), FakePlaybook()])
def test_a_failure_stays_as_it_is_where_daemons_can_not_be_asked_or_say_nothing(playbook: FakePlaybook) -> None:
    context = FakeContext(FakeAnsible({MANAGEMENT: FakePlaybook(failed={"oxygen1": BROKEN}), PLAYBOOK: playbook}))
    result = configure_management.run(management_input(), context.as_context())
    assert result.message == "oxygen1: Install munge: no package munge"


def test_hosts_that_did_not_answer_are_not_asked() -> None:
    context = FakeContext(failing({MANAGEMENT: {"oxygen1": GONE}}))
    configure_management.run(management_input(), context.as_context())
    assert [run.playbook.name for run in context.ansible.runs] == [MANAGEMENT]


def test_all_nodes_that_have_a_system_are_configured() -> None:
    context = FakeContext()
    result = configure_services.run(services_input(), context.as_context())
    assert result.succeeded
    assert result.nodes == [NodeGroup(hosts="oxygen[2-5]", state=NodeState.CONFIGURED)]
    assert hosts_of(context.ansible.runs[0]) == ["oxygen2", "oxygen3", "oxygen4", "oxygen5"]


def test_a_failing_node_is_named_and_the_others_go_on_while_enough_are_left() -> None:
    context = FakeContext(failing({SERVICES: {"oxygen3": BROKEN, "oxygen4": GONE}}))
    result = configure_services.run(services_input("50%"), context.as_context())
    assert result.succeeded
    assert [(group.hosts, group.state, group.reason) for group in result.nodes] == [
        ("oxygen[2,5]", NodeState.CONFIGURED, None),
        ("oxygen3", NodeState.FAILED, "ConfigurationFailed"),
        ("oxygen4", NodeState.FAILED, "Unreachable"),
    ]
    assert "oxygen3: Install munge: no package munge" in result.message


def test_too_few_nodes_fail_the_phase() -> None:
    context = FakeContext(failing({SERVICES: {"oxygen3": BROKEN}}))
    result = configure_services.run(services_input(), context.as_context())
    assert (result.succeeded, result.reason, result.retryable) == (False, "TooFewNodes", True)
    assert "at least 4" in result.message


def test_a_node_that_no_play_came_to_has_failed() -> None:
    context = FakeContext(FakeAnsible({SERVICES: FakePlaybook(passed_by=["oxygen3"])}))
    result = configure_services.run(services_input("50%"), context.as_context())
    assert [(group.hosts, group.state, group.message) for group in result.nodes] == [
        ("oxygen[2,4-5]", NodeState.CONFIGURED, None),
        ("oxygen3", NodeState.FAILED, "the playbook did nothing there"),
    ]


@pytest.mark.parametrize(("outcome", "reason"), [(BROKEN, "ConfigurationFailed"), (GONE, "Unreachable")])
def test_the_management_nodes_failure_is_everybodys(outcome: HostOutcome, reason: str) -> None:
    context = FakeContext(failing({SERVICES: {"oxygen1": outcome, "oxygen3": BROKEN}}))
    result = configure_services.run(services_input("25%"), context.as_context())
    assert (result.succeeded, result.reason, result.retryable) == (False, reason, True)
    assert [group.hosts for group in result.nodes] == ["oxygen3"]


def test_the_sites_playbook_runs_after_ours_on_the_hosts_that_are_left(tmp_path: Path) -> None:
    context = FakeContext(failing({SERVICES: {"oxygen3": BROKEN}, "s.yml": {"oxygen5": BROKEN}}))
    context.directories = site(tmp_path, "s.yml")
    result = configure_services.run(services_input("50%", configuration={"playbooks": OWN}), context.as_context())
    assert playbooks_of(context) == [SERVICES, "s.yml", "settle_nodes.yml"]
    assert hosts_of(runs_of(context)[1]) == ["oxygen2", "oxygen4", "oxygen5"]
    assert runs_of(context)[1].roles == [tmp_path / "roles"]
    assert [(group.hosts, group.state) for group in result.nodes] == [
        ("oxygen[2,4]", NodeState.CONFIGURED),
        ("oxygen[3,5]", NodeState.FAILED),
    ]


def test_a_node_that_failed_in_any_playbook_is_marked_down_in_slurm_at_last(tmp_path: Path) -> None:
    context = FakeContext(failing({SERVICES: {"oxygen3": GONE}, "s.yml": {"oxygen5": BROKEN}}))
    context.directories = site(tmp_path, "s.yml")
    configure_services.run(services_input("50%", configuration={"playbooks": OWN}), context.as_context())
    settled = context.ansible.runs[-1].inventory["all"]["vars"]
    assert settled["slurm_ready_nodes"] == "oxygen[2,4]"
    assert settled["slurm_down_nodes"] == [
        {"hosts": ["oxygen3"], "names": "oxygen3", "reason": "Unreachable"},
        {"hosts": ["oxygen5"], "names": "oxygen5", "reason": "ConfigurationFailed"},
    ]


def test_the_sites_playbook_does_not_run_on_a_broken_management_node(tmp_path: Path) -> None:
    context = FakeContext(failing({MANAGEMENT: {"oxygen1": BROKEN}}))
    context.directories = site(tmp_path, "m.yml")
    spec = build_spec(configuration={"playbooks": OWN})
    result = configure_management.run(management_input(spec=spec), context.as_context())
    assert playbooks_of(context) == [MANAGEMENT]
    assert (result.succeeded, result.reason, result.retryable) == (False, "ConfigurationFailed", True)


def test_a_missing_site_playbook_is_the_users_to_mend_before_anything_runs(tmp_path: Path) -> None:
    context = FakeContext()
    context.directories = site(tmp_path)
    spec = build_spec(configuration={"playbooks": OWN})
    with pytest.raises(Invalid, match=r"spec\.configuration\.playbooks\.management.*m\.yml"):
        configure_management.run(management_input(spec=spec), context.as_context())
    assert context.ansible.runs == []


def test_a_site_playbook_outside_of_its_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    (tmp_path / "outside.yml").touch()
    with pytest.raises(Invalid, match="services"):
        find_site_playbook(tmp_path / "repository", "../outside.yml", "services")


def test_the_munge_key_goes_by_a_secret_file_and_is_not_in_the_inventory() -> None:
    context = FakeContext()
    configure_management.run(management_input(), context.as_context())
    run = context.ansible.runs[0]
    assert run.secret_files == {"munge_key_file": b"k" * 1024}
    assert "k" * 32 not in str(run.inventory)
    assert "k" * 32 not in repr(run)


def test_the_key_to_the_homes_goes_by_a_secret_file_and_its_public_half_and_the_host_key_by_the_inventory() -> None:
    context = FakeContext()
    configure_services.run(services_input(configuration={"sharedHome": "SSHFS"}), context.as_context())
    run = context.ansible.runs[0]
    assert run.secret_files["sshfs_key_file"] == b"private half"
    assert run.inventory["all"]["vars"]["sshfs_public_key"] == "ssh-ed25519 homes"
    assert run.inventory["all"]["vars"]["sshfs_host_key"] == HOST_KEY
    assert "private half" not in f"{run.inventory} {run!r}"


def test_no_key_to_the_homes_is_given_where_they_are_not_shared_by_ssh() -> None:
    context = FakeContext()
    configure_services.run(services_input(), context.as_context())
    assert set(context.ansible.runs[0].secret_files) == {"munge_key_file"}
    assert "sshfs_public_key" not in context.ansible.runs[0].inventory["all"]["vars"]


def test_a_configured_management_node_is_a_success() -> None:
    context = FakeContext()
    result = configure_management.run(management_input(), context.as_context())
    assert result.succeeded
    assert context.slurm.drained == []


def test_a_playbook_that_passed_the_management_node_by_is_no_success() -> None:
    context = FakeContext(FakeAnsible({MANAGEMENT: FakePlaybook(passed_by=["oxygen1"])}))
    result = configure_management.run(management_input(), context.as_context())
    assert (result.succeeded, result.reason) == (False, "ConfigurationFailed")


def test_an_unreachable_management_node_has_its_own_reason() -> None:
    assert configure_management.build_result("oxygen1", PlaybookOutcome({"oxygen1": GONE})).reason == "Unreachable"


def test_nodes_that_left_are_drained_and_their_jobs_awaited_before_slurm_forgets_them() -> None:
    slurm = FakeSlurm(
        nodes=[
            [SlurmNode("oxygen2", "idle"), SlurmNode("oxygen8", "allocated"), SlurmNode("oxygen9", "down*")],
            [SlurmNode("oxygen8", "draining")],
            [SlurmNode("oxygen8", "draining")],
            [SlurmNode("oxygen8", "drained")],
        ]
    )
    context = FakeContext(slurm=slurm)
    result = configure_management.run(management_input(remove_hosts="oxygen[8-9]"), context.as_context())
    assert result.succeeded
    assert slurm.drained == [(("oxygen8",), "bessemer: removed")]
    assert context.clock.now() > 0


def test_jobs_on_nodes_that_left_are_not_awaited_for_ever() -> None:
    clock = VirtualClock()
    slurm = FakeSlurm(nodes=[[SlurmNode("oxygen8", "draining")]])
    with pytest.raises(Retry, match="oxygen8") as caught:
        drain(slurm, clock, ["oxygen8"], 600)
    assert caught.value.reason == "DrainTimeout"
    assert 600 <= clock.now() <= 610


def test_without_slurm_there_is_nothing_to_drain() -> None:
    slurm = FakeSlurm()
    drain(slurm, VirtualClock(), ["oxygen8"], 600)
    assert slurm.drained == []


def test_a_phase_ends_before_kubernetes_would_stop_its_pod() -> None:
    phase_input, clock = management_input(spec=build_spec(deadlines={"phaseSeconds": 1000})), VirtualClock()
    deadline = Deadline(phase_input, clock, 60)
    assert (deadline.moment, deadline.take("PlaybookTimeout")) == (940, 940)
    clock.sleep(100)
    assert deadline.compute_left() == 840
    clock.sleep(900)
    assert deadline.compute_left() == 0
    with pytest.raises(Retry, match=r"1000 s \(deadlines\.phaseSeconds\) are used up") as caught:
        deadline.take("PlaybookTimeout")
    assert caught.value.reason == "PlaybookTimeout"


def test_the_margin_leaves_most_of_a_short_time() -> None:
    phase_input = management_input(spec=build_spec(deadlines={"phaseSeconds": 100}))
    assert Deadline(phase_input, VirtualClock(), 60).moment == 75


def test_a_host_that_failed_in_one_playbook_has_failed_whatever_another_finds() -> None:
    well = HostOutcome(HostState.OK)
    assert add_outcomes({"oxygen2": BROKEN, "oxygen3": well}, {"oxygen2": well, "oxygen3": GONE}, []) == {
        "oxygen2": BROKEN,
        "oxygen3": GONE,
    }


@pytest.mark.parametrize("missed", ["oxygen1", "oxygen3"])
def test_a_host_that_our_playbook_passed_by_has_failed_although_the_sites_came_to_it(
    tmp_path: Path, missed: str
) -> None:
    context = FakeContext(FakeAnsible({SERVICES: FakePlaybook(passed_by=[missed])}))
    context.directories = site(tmp_path, "s.yml")
    result = configure_services.run(services_input(configuration={"playbooks": OWN}), context.as_context())
    assert (result.succeeded, f"{missed}: the playbook did nothing there" in result.message) == (False, True)


def test_daemons_are_asked_only_in_the_time_that_is_left() -> None:
    clock = VirtualClock()

    class Slow(FakeAnsible):
        def run(self, run: PlaybookRun, report: Callable[[str], None]) -> PlaybookOutcome:
            clock.sleep(run.timeout_seconds - spare)
            return super().run(run, report)

    for spare, asked in ((5, [MANAGEMENT, PLAYBOOK]), (0, [MANAGEMENT])):
        context = FakeContext(Slow({MANAGEMENT: FakePlaybook(failed={"oxygen1": BROKEN})}))
        clock = context.clock
        configure_management.run(management_input(), context.as_context())
        assert [run.playbook.name for run in context.ansible.runs] == asked
        assert context.ansible.runs[-1].timeout_seconds == (5 if spare else 7140)


def test_a_pod_that_is_stopped_while_daemons_are_asked_ends_at_once() -> None:
    clock = VirtualClock(stop_at=0)
    playbooks = {MANAGEMENT: FakePlaybook({}, failed={"oxygen1": BROKEN})}
    context = FakeContext(FakeAnsible(playbooks, clock))
    with pytest.raises(Terminated):
        configure_management.run(management_input(), context.as_context())
    assert [run.playbook.name for run in context.ansible.runs] == [MANAGEMENT, PLAYBOOK]
