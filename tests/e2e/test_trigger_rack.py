"""From GitLab to a cluster on bare metal: the button, a merge, and those who may have neither.

The repository is that of ``examples/gitlab``; its jobs run in pods of a runner pool. GitLab itself is the simulator,
pushes are git's. The tests share one rack and stand in the order of a cluster's life, because a build takes minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local_kubernetes.kubectl import Resource
from tests.e2e.conftest import MakeSite
from tests.support.clone import Clone
from tests.support.disturbance import phase_pods
from tests.support.site import condition
from tests.support.trigger_rack import (
    DEVELOPER,
    FORK,
    FORK_PATH,
    MAINTAINER,
    PATH,
    STRANGER,
    TRIGGER,
    TriggerRack,
    open_trigger_rack,
)
from tests.support.triggers import PROJECT, SOON

pytestmark = pytest.mark.e2e

PHASES = ["Preflight", "BootManagement", "ConfigureManagement", "BootCompute", "ConfigureServices", "Verify", "Cleanup"]
WHOLE = f"bessemer/{TRIGGER}"
NAMES = {WHOLE, *(f"bessemer/oxygen/{phase}" for phase in PHASES)}
BUILD_SECONDS = 600
OVER, OPEN = {"success", "failed", "canceled"}, {"created", "pending", "running"}
SECTION = re.compile(r"section_(start|end):\d+:bessemer_oxygen_(\w+)_1\b")


@pytest.fixture(scope="module")
def rack(make_shared_site: MakeSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TriggerRack]:
    site = make_shared_site("foundry", compute_nodes=3)
    with open_trigger_rack(site, tmp_path_factory.mktemp("clones")) as made:
        yield made


def wait_for_job(rack: TriggerRack, number: int, seconds: float = SOON) -> dict[str, Any]:
    rack.site.kubectl.wait_for(
        f"job {number} ends", lambda: rack.get_job(number)["status"] in OVER, seconds, rack.explain
    )
    return rack.get_job(number)


def wait_for_log(rack: TriggerRack, number: int, text: str, seconds: float = SOON) -> None:
    rack.site.kubectl.wait_for(
        f"job {number} logs {text}", lambda: text in rack.get_job(number)["trace"], seconds, rack.explain
    )


def list_switched(rack: TriggerRack, since: int) -> set[str]:
    """List the machines to which anything has happened."""
    return {event["machine"] for event in rack.site.lab.events()[since:]}


class TestCancelledButton:
    def test_cancelling_the_job_aborts_the_build_and_deleting_it_powers_its_machines_off(
        self, rack: TriggerRack
    ) -> None:
        before = len(rack.site.lab.events())
        button, later = rack.press()
        wait_for_log(rack, button, "bessemer_oxygen_BootManagement_1")
        rack.site.kubectl.wait_for(
            "the management node starts", lambda: list_switched(rack, before) == {"oxygen1"}, SOON, rack.explain
        )
        rack.runners.gitlab.cancel_job(rack.tokens[MAINTAINER], button)
        job = wait_for_job(rack, button)
        assert (job["status"], "the build is being aborted" in job["trace"]) == ("canceled", True), job["trace"]
        build = rack.site.wait_until_settled(seconds=SOON)
        assert condition(build, "Ready")["reason"] == "Aborted"
        assert rack.get_job(later)["status"] in ("skipped", "canceled")
        assert rack.site.lab.boot_host_exec(["ls", "/srv/http/boot"]) == ""
        assert rack.site.lab.state()["oxygen1"]["power"] == "on"
        rack.site.kubectl.run("delete", "clusterbuild", "oxygen", timeout=120)
        assert {machine["power"] for machine in rack.site.lab.state().values()} == {"off"}


@dataclass
class Pressed:
    """A button that was pressed, and what came of it."""

    job: dict[str, Any]
    later: dict[str, Any]
    build: Resource
    early: str
    """The log while the build went on."""
    before: int
    """Number of the events of the rack until then."""


@pytest.fixture(scope="module")
def pressed(rack: TriggerRack) -> Pressed:
    """Press the button for machines that are all off."""
    before = len(rack.site.lab.events())
    button, after = rack.press()
    wait_for_log(rack, button, "bessemer_oxygen_ConfigureManagement_1", BUILD_SECONDS)
    early = rack.get_job(button)["trace"]
    job = wait_for_job(rack, button, BUILD_SECONDS)
    return Pressed(job, wait_for_job(rack, after), rack.site.get_build(), early, before)


class TestButton:
    def test_the_button_builds_a_cluster_of_machines_that_are_off(self, rack: TriggerRack, pressed: Pressed) -> None:
        assert (pressed.job["status"], pressed.job["claims"]) == ("success", 1), pressed.job["trace"]
        assert condition(pressed.build, "Ready")["status"] == "True", pressed.build["status"]
        assert rack.site.lab.exec("oxygen1", ["sinfo", "--noheader", "--format=%N %T"]).split() == [
            "oxygen[2-3]",
            "idle",
        ]
        events = rack.site.lab.events()[pressed.before :]
        installed = [event["machine"] for event in events if (event["event"], event["source"]) == ("boot", "network")]
        assert sorted(installed) == ["oxygen1", "oxygen2", "oxygen3"]

    @pytest.mark.usefixtures("pressed")
    def test_the_playbooks_of_the_same_commit_have_run(self, rack: TriggerRack) -> None:
        assert "The cluster of this site" in rack.site.lab.exec("oxygen1", ["cat", "/etc/motd"])
        assert rack.site.lab.exec("oxygen3", ["stat", "--format=%a", "/scratch"]) == "1777\n"

    def test_its_log_is_written_while_the_build_goes_on_with_a_section_for_each_phase(self, pressed: Pressed) -> None:
        assert "bessemer_oxygen_Verify_1" not in pressed.early
        sections = SECTION.findall(pressed.job["trace"])
        assert sections == [(edge, phase) for phase in PHASES for edge in ("start", "end")]
        assert "Describe the cluster at login" in pressed.job["trace"]  # a task of the playbook for the management node
        assert re.search(r"oxygen: Ready after \S+", pressed.job["trace"])

    def test_gitlab_shows_verification_as_tests_and_later_jobs_know_the_cluster(
        self, rack: TriggerRack, pressed: Pressed
    ) -> None:
        assert set(pressed.job["artifacts"]) == {"dotenv", "junit"}
        (suite,) = rack.get_tests(pressed.job["id"])
        (case,) = suite["test_cases"]
        assert (suite["name"], case["name"], case["status"]) == ("build-oxygen", "hostname", "success")
        assert "oxygen2" in case["system_output"]
        assert pressed.later["status"] == "success", pressed.later["trace"]
        assert "cluster=oxygen/Ready at rack." in pressed.later["trace"]


def take_over(rack: TriggerRack, clone: Clone, branch: str) -> str:
    """Push a branch whose manifest would have all machines installed again; return its commit."""
    clone.run("checkout", "--quiet", "-b", branch)
    management = {"install": {"image": "http://10.77.0.1/images/compute.tar.gz"}}
    commit = rack.change(clone, "Take over", management=management)
    clone.run("push", "--quiet", "origin", branch)
    return commit


class TestStrangers:
    @pytest.mark.usefixtures("pressed")
    def test_no_machine_is_touched_for_forks_and_branches_that_are_not_protected(self, rack: TriggerRack) -> None:
        events, build = rack.site.lab.events(), rack.site.get_build()
        pods = {pod["metadata"]["name"] for pod in phase_pods(rack.site)}
        rack.runners.gitlab.seed(projects=[{"path": FORK, "forked_from": PROJECT}])

        take_over(rack, rack.clone(STRANGER, FORK), "gift")
        body = {"source_branch": "gift", "target_branch": "main", "title": "A gift", "target_project_id": 2}
        gift = rack.ask("POST", f"{FORK_PATH}/merge_requests", body, STRANGER)["iid"]
        for user in (STRANGER, DEVELOPER):
            rack.ask("POST", f"{PATH}/merge_requests/{gift}/notes", {"body": "/bessemer build"}, user)

        clone = rack.clone(DEVELOPER)
        commit = take_over(rack, clone, "feature")
        assert "protected branch" in clone.run("push", "origin", "feature:main", ok=False)
        button, _ = rack.press(DEVELOPER, "feature")
        job = wait_for_job(rack, button)
        assert (job["status"], job["exit_code"], "RefNotProtected" in job["trace"]) == ("failed", 3, True), job["trace"]
        body = {"source_branch": "feature", "target_branch": "main", "title": "A feature"}
        rack.ask("POST", f"{PATH}/merge_requests", body, DEVELOPER)
        event = rack.triggers.wait_for_event(commit, "Planned", "Building", "Failed", "Succeeded")
        assert (event["state"], event["rule"]) == ("Planned", "plan")
        assert "installs again oxygen1" in event["message"]

        answers = rack.list_answers()
        for said in ("push is for protected refs", "is from a fork", "order is not for forks"):
            assert any(said in answer for answer in answers), answers
        assert rack.site.lab.events() == events
        assert {pod["metadata"]["name"] for pod in phase_pods(rack.site)} == pods
        assert rack.site.get_build()["metadata"]["generation"] == build["metadata"]["generation"]


@dataclass
class Asked:
    """A merge request with another node in the manifest."""

    iid: int
    clone: Clone


@pytest.fixture(scope="module")
def asked(rack: TriggerRack, pressed: Pressed) -> Asked:
    clone = rack.clone(DEVELOPER)
    clone.run("checkout", "--quiet", "-b", "grow")
    rack.change(clone, "Another node", compute=rack.choose_nodes(2, 4))
    clone.run("push", "--quiet", "origin", "grow")
    body = {"source_branch": "grow", "target_branch": "main", "title": "Another node"}
    return Asked(rack.ask("POST", f"{PATH}/merge_requests", body, DEVELOPER)["iid"], clone)


@dataclass
class Merged:
    """A merge that was pushed, and what came of it."""

    commit: str
    build: Resource
    before: int
    """Number of the events of the rack until then."""
    seen: set[tuple[str, str]]
    """Names and states that statuses had while the build went on."""


@pytest.fixture(scope="module")
def merged(rack: TriggerRack, asked: Asked) -> Merged:
    clone, before = rack.clone(MAINTAINER), len(rack.site.lab.events())
    clone.run("merge", "--quiet", "--no-ff", "--message=Merge it", "origin/grow")
    clone.run("push", "--quiet", "origin", "HEAD:main")
    commit = clone.run("rev-parse", "HEAD")
    rack.triggers.wait_for_event(commit, "Building", "Failed", "Refused")

    seen: set[tuple[str, str]] = set()
    build = rack.site.wait_until_settled(
        seconds=BUILD_SECONDS, meanwhile=lambda: seen.update(rack.list_statuses(commit, "main"))
    )
    rack.site.kubectl.wait_for(
        "the statuses are closed",
        lambda: not {state for _, state in rack.list_statuses(commit, "main")} & OPEN,
        SOON,
        rack.explain,
    )
    return Merged(commit, build, before, seen)


class TestMergeRequest:
    def test_its_plan_is_a_note_and_nothing_is_done(self, rack: TriggerRack, asked: Asked) -> None:
        before = len(rack.site.lab.events())
        rack.site.kubectl.wait_for("the note", lambda: rack.list_notes(asked.iid), SOON, rack.explain)
        (note,) = rack.list_notes(asked.iid)
        assert "oxygen: adds oxygen4, removes oxygen3, leaves oxygen[1-2]" in note["body"]
        assert rack.site.lab.events()[before:] == []

    def test_the_push_of_its_merge_changes_the_cluster(self, rack: TriggerRack, merged: Merged) -> None:
        assert condition(merged.build, "Ready")["status"] == "True", merged.build["status"]
        assert merged.build["metadata"]["annotations"]["bessemer.dev/commit"] == merged.commit
        assert rack.site.lab.exec("oxygen1", ["sinfo", "--noheader", "--format=%N %T"]).split() == [
            "oxygen[2,4]",
            "idle",
        ]

    def test_only_the_changed_node_is_installed(self, rack: TriggerRack, merged: Merged) -> None:
        assert list_switched(rack, merged.before) == {"oxygen4"}

    def test_each_phase_has_a_status_that_was_opened_and_closed(self, rack: TriggerRack, merged: Merged) -> None:
        slow = ("BootCompute", "ConfigureServices")
        assert {(WHOLE, "running"), *((f"bessemer/oxygen/{name}", "running") for name in slow)} <= merged.seen
        assert sorted(rack.list_statuses(merged.commit, "main")) == sorted((name, "success") for name in NAMES)
        every = rack.list_statuses(merged.commit, "main", every=True)
        assert not {state for _, state in every} & OPEN, every

    def test_the_note_of_the_merge_request_tells_how_it_ended(
        self, rack: TriggerRack, asked: Asked, merged: Merged
    ) -> None:
        def tell() -> str | None:
            (note,) = rack.list_notes(asked.iid)
            return str(note["body"]) if "Succeeded" in note["body"] else None

        body = rack.site.kubectl.wait_for("the note", tell, SOON, rack.explain)
        assert merged.commit[:12] in body
        assert all(re.search(rf"\| {phase} \| \d\S* \|", body) for phase in PHASES), body
        assert "Job `hostname`: passed" in body
        assert rack.ask("GET", f"{PATH}/merge_requests/{asked.iid}")["state"] == "merged"


def switch_all_off(rack: TriggerRack) -> None:
    """Delete the cluster, and switch off machines that were removed from it, which belong to no build."""
    rack.site.kubectl.run("delete", "clusterbuild", "oxygen", "--ignore-not-found", timeout=120)
    for name, machine in rack.site.lab.state().items():
        if machine["power"] == "on":
            rack.site.lab.power("off", name)


@pytest.mark.soak
class TestLong:
    """A push to machines that are off, and a job that is killed: each takes minutes more."""

    def test_a_push_builds_a_cluster_of_machines_that_are_off(self, rack: TriggerRack) -> None:
        switch_all_off(rack)
        clone, before = rack.clone(MAINTAINER), len(rack.site.lab.events())
        commit = rack.change(clone, "From the beginning", compute=rack.choose_nodes(2, 3))
        clone.run("push", "--quiet", "origin", "HEAD:main")
        rack.triggers.wait_for_event(commit, "Building", "Failed", "Refused")
        seen: set[tuple[str, str]] = set()
        build = rack.site.wait_until_settled(
            seconds=BUILD_SECONDS, meanwhile=lambda: seen.update(rack.list_statuses(commit, "main"))
        )
        assert condition(build, "Ready")["status"] == "True", build["status"]
        assert list_switched(rack, before) == {"oxygen1", "oxygen2", "oxygen3"}
        assert {name for name, state in seen if state == "running"} >= NAMES - {
            "bessemer/oxygen/Preflight",
            "bessemer/oxygen/Cleanup",
        }
        wanted = sorted((name, "success") for name in NAMES)
        rack.site.kubectl.wait_for(
            "the statuses", lambda: sorted(rack.list_statuses(commit, "main")) == wanted, SOON, rack.explain
        )
        assert sorted(rack.list_statuses(commit, "main", every=True)) == wanted

    def test_a_build_whose_job_was_killed_is_aborted(self, rack: TriggerRack) -> None:
        """GitLab is asked about a job that was silent for a minute; the phases from there on take longer."""
        switch_all_off(rack)
        button, _ = rack.press()
        rack.site.kubectl.wait_for(
            "the management node to start", lambda: phase_pods(rack.site, "BootManagement"), BUILD_SECONDS, rack.explain
        )
        for pod in rack.runners.pods():
            rack.site.kubectl.run("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
        rack.ask("POST", f"{PATH}/jobs/{button}/cancel", {"force": True})
        build = rack.site.wait_until_settled(seconds=3 * SOON)
        assert condition(build, "Ready")["reason"] == "Aborted", rack.explain()
