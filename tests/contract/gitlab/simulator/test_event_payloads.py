"""Each event has the fields that GitLab's own Go client is tested with: the same names, the same types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

import gitlab
from tests.contract.gitlab.conftest import Site
from tests.contract.gitlab.simulator.conftest import MakeClone, Receiver
from tests.contract.gitlab.simulator.fixtures import find_differences, read_fixture
from tests.contract.gitlab.simulator.test_merge_requests import COMMITS, get_url

NOT_ALWAYS = {
    ".object_attributes.system_action is missing": "only where GitLab itself did it",
    ".source_pipeline is missing": "only of a child pipeline",
    ".changes.updated_by_id is missing": "only what has changed",
    ".changes.state_id is missing": "only what has changed",
    ".merge_request.position is missing": "of GitLab 8",
    ".merge_request.assignee is missing": "of GitLab 8",
}
"""What a fixture has and our event rightly lacks."""
NEVER_EMPTY = {
    "push": ("commits", "user_name", "checkout_sha"),
    "tag_push": ("commits", "checkout_sha"),
    "merge_request": ("labels", "changes", "user"),
    "note_merge_request": ("merge_request", "user"),
    "pipeline": ("builds", "merge_request", "user", "commit"),
    "job": ("runner", "user", "commit", "build_duration"),
}
"""What must not be None or empty in these events, so that the comparison sees it."""


@pytest.fixture
def make(site: Site, clone: MakeClone, receiver: Receiver) -> Callable[[str], None]:
    """Make an event come about, in a project with a hook for it."""
    tokens = site.control.seed(
        projects=[
            {"path": "hpc/site", "commits": COMMITS,
             "merge_requests": [{"source_branch": "grow", "labels": ["API"]}]}
        ],
        tokens=[{"user": "root", "name": "root"}],
    )  # fmt: skip
    client = site.connect(tokens["root"])
    project = client.projects.get("hpc/site")
    request = project.mergerequests.get(1)

    def push(*refs: str) -> None:
        copy = clone(get_url(site, tokens["root"]))
        copy.commit("More", more="x\n")
        copy.run("tag", "--annotate", "--message=Release", "v1")
        copy.run("push", "--quiet", "origin", *refs)

    def run_job() -> None:
        site.control.run_jobs("hpc/site", {"name": "build"}, merge_request="hpc/site!1", variables={"A": "1"})
        runner = site.control.create_runner(tokens["root"], runner_type="instance_type", tag_list=["linux"])
        job: Any = gitlab.Gitlab(site.url).http_post("/jobs/request", post_data={"token": runner["token"]})
        done = {"token": job["token"], "state": "success"}
        assert requests.put(f"{site.url}/api/v4/jobs/{job['id']}", json=done, timeout=10).ok

    def relabel() -> None:
        request.labels = ["Platform"]
        request.save()

    def comment() -> None:
        request.notes.create({"body": "This MR needs work."})

    def act(name: str) -> None:
        causes: dict[str, tuple[str, Callable[[], None]]] = {
            "push": ("push_events", lambda: push("HEAD:main")),
            "tag_push": ("tag_push_events", lambda: push("v1")),
            "merge_request": ("merge_requests_events", relabel),
            "note_merge_request": ("note_events", comment),
            "pipeline": ("pipeline_events", run_job),
            "job": ("job_events", run_job),
        }
        hook, cause = causes[name]
        project.hooks.create({"url": receiver.url, "push_events": hook == "push_events", hook: True})
        cause()

    return act


@pytest.mark.parametrize("name", sorted(NEVER_EMPTY))
def test_an_event_has_the_fields_of_the_fixture(make: Callable[[str], None], receiver: Receiver, name: str) -> None:
    make(name)
    body = receiver.queue.get(timeout=20).body
    while name in ("pipeline", "job") and "success" not in (
        body.get("build_status"), body.get("object_attributes", {}).get("status")
    ):  # fmt: skip
        body = receiver.queue.get(timeout=20).body
    assert [field for field in NEVER_EMPTY[name] if not body[field] and body[field] != 0] == []
    differences = find_differences(read_fixture(name), body)
    assert [line for line in differences if line not in NOT_ALWAYS] == []


def test_a_field_that_is_missing_or_of_another_type_is_found() -> None:
    fixture = {"a": 1, "b": [{"c": None}, {"c": "x", "d": True}], "e": {"f": "x"}}
    assert find_differences(fixture, {"a": 1.5, "b": [{"c": 1, "d": None}], "e": None}) == [
        ".b[].c: number instead of str"
    ]
    assert find_differences(fixture, {"a": True, "b": [{}], "e": {}}) == [
        ".a: bool instead of number", ".b[].c is missing", ".b[].d is missing", ".e.f is missing",
    ]  # fmt: skip
