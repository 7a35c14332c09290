"""What GitLab is told of a push, on a real Kubernetes; GitLab itself is the simulator, and no machine answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_kubernetes.protocol import Cluster
from tests.support.checkout import ROOT
from tests.support.triggers import PROJECT, PROJECT_PATH, SOON, Triggers, open_triggers

pytestmark = pytest.mark.e2e
OXYGEN = (ROOT / "examples" / "oxygen.yaml").read_text(encoding="utf-8")
WHOLE = "bessemer/clusters"
REQUESTS = f"{PROJECT_PATH}/merge_requests"


@pytest.fixture(scope="module")
def triggers(bessemer: Cluster) -> Iterator[Triggers]:
    """Yield a namespace with a GitLab, a trigger for all branches and its webhook."""
    with open_triggers(bessemer, "reports") as made:
        made.gitlab.add_commit(PROJECT, branch="main", files={"README.md": "Clusters"})
        rule = {"name": "all", "push": {"branches": ["*"], "protectedOnly": False}}
        made.apply(rules=[rule], report={"environment": "clusters/{cluster}"})
        made.add_hook()
        yield made


def stop_phases(triggers: Triggers) -> None:
    """Let no phase start: Preflight, which fails here, would be faster than what is told of it."""
    triggers.kubectl.run("create", "quota", "no-phases", "--hard=pods=1")


def test_a_push_is_told_by_statuses_a_note_and_a_deployment_that_are_true_at_the_end(triggers: Triggers) -> None:
    triggers.gitlab.add_commit(PROJECT, branch="grow", start="main", files={"README.md": "More clusters"})
    body = {"source_branch": "grow", "target_branch": "main", "title": "Grow"}
    iid = triggers.gitlab.ask(triggers.token, "POST", REQUESTS, body)["iid"]
    stop_phases(triggers)
    commit = triggers.push("grow", oxygen=OXYGEN)
    triggers.kubectl.wait_for(
        "the build's status", lambda: triggers.statuses(commit).get(WHOLE) == "running", SOON, triggers.explain
    )
    triggers.kubectl.run("delete", "clusterbuild", "oxygen", timeout=180)
    triggers.kubectl.wait_for(
        "the end of all statuses",
        lambda: set(triggers.statuses(commit).values()) == {"canceled"},
        SOON,
        triggers.explain,
    )
    triggers.kubectl.wait_for(
        "all is told", lambda: get_condition(triggers, "Reporting") == "Reported", SOON, triggers.explain
    )
    notes = triggers.gitlab.ask(triggers.token, "GET", f"{REQUESTS}/{iid}/notes?per_page=100")
    (note,) = [note["body"] for note in notes if not note["system"]]
    assert commit[:12] in note
    deployments = triggers.gitlab.ask(triggers.token, "GET", f"{PROJECT_PATH}/deployments")
    (deployment,) = [one for one in deployments if one["sha"] == commit]
    assert deployment["environment"]["name"] == "clusters/oxygen"
    assert deployment["status"] == "canceled"


def get_condition(triggers: Triggers, type_: str) -> str | None:
    """Return the reason of a condition of the trigger."""
    conditions = triggers.status().get("conditions", [])
    return next((one["reason"] for one in conditions if one["type"] == type_), None)


def test_a_refused_manifest_is_a_failed_status(triggers: Triggers) -> None:
    commit = triggers.push("evil", oxygen=OXYGEN.replace("oxygen[2-5]", "victim[2-5]"))
    triggers.wait_for_event(commit, "Refused")
    triggers.kubectl.wait_for(
        "the status", lambda: triggers.statuses(commit) == {WHOLE: "failed"}, SOON, triggers.explain
    )
    assert get_condition(triggers, "Reporting") == "Reported"
