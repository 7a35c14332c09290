"""Statuses, notes and deployments by the client, in the simulator and in the fake: both must behave alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from bessemer.gitlab.client import GitLabConnector
from bessemer.gitlab.protocol import GitLabNotFound, GitLabRefused
from bessemer.gitlab.reporter import ReportClient
from bessemer.gitlab.reports import (
    CommitStatus,
    Deployment,
    GitLabBusy,
    MergeRequest,
    NewDeployment,
    NewStatus,
    Reports,
    State,
    Target,
)
from tests.contract.gitlab.conftest import Site
from tests.fakes.reports import FakeReports

PROJECT = "hpc/site"
COMMITS = [
    {"files": {"build.yaml": "one"}},
    {"branch": "grow", "files": {"build.yaml": "two"}},
]
MARKER = "<!-- bessemer 7 -->"


@dataclass(frozen=True)
class Place:
    """A project with a merge request, and a client."""

    client: Reports
    main: str
    grown: str
    """Head of the merge request !1 from the branch grow."""

    def target(self, pipeline: int | None = None) -> Target:
        return Target(PROJECT, self.main, "main", pipeline)


@pytest.fixture(params=["simulator", "fake"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param == "fake":
        main, grown = "1" * 40, "2" * 40
        fake = FakeReports(PROJECT, commits={main, grown})
        fake.merge_requests[1] = MergeRequest(1, grown, from_fork=False)
        yield Place(fake, main, grown)
        return
    site: Site = request.getfixturevalue("site")
    tokens = seed(site)
    client = connect(site, tokens["robot"])
    project = site.connect(tokens["robot"]).projects.get(PROJECT)
    heads = {name: project.branches.get(name).commit["id"] for name in ("main", "grow")}
    yield Place(client, heads["main"], heads["grow"])
    await client.close()


def seed(site: Site) -> dict[str, str]:
    request = {"source_branch": "grow", "title": "Grow", "author": "other"}
    return site.control.seed(
        projects=[{"path": PROJECT, "commits": COMMITS, "merge_requests": [request]}],
        users=[{"username": name, "access": {"hpc": 40}} for name in ("robot", "other")],
        tokens=[
            {"user": "robot", "name": "robot"},
            {"user": "other", "name": "other"},
            {"user": "robot", "name": "reading", "scopes": ["read_api"]},
        ],
    )


def connect(site: Site, token: str) -> ReportClient:
    return ReportClient(GitLabConnector().open_transport(site.url, token, None))


async def test_a_status_goes_through_its_states_in_one_pipeline(place: Place) -> None:
    pipeline = None
    for state in (State.PENDING, State.RUNNING, State.SUCCESS):
        answer = await place.client.set_status(place.target(pipeline), NewStatus("bessemer/oxygen/Verify", state, "x"))
        assert (answer.state, answer.pipeline) == (state, pipeline or answer.pipeline)
        pipeline = answer.pipeline
    found = await place.client.list_statuses(place.target(), "bessemer/")
    assert found == [CommitStatus("bessemer/oxygen/Verify", State.SUCCESS, pipeline)]
    assert await place.client.list_statuses(place.target(), "other/") == []


async def test_what_can_not_follow_is_answered_with_the_state_that_stays(place: Place) -> None:
    for state in (State.PENDING, State.PENDING):
        answer = await place.client.set_status(place.target(), NewStatus("bessemer/a", state))
        assert answer.state is State.PENDING
    for state in (State.RUNNING, State.RUNNING, State.PENDING, State.SKIPPED):
        answer = await place.client.set_status(place.target(), NewStatus("bessemer/a", state))
        assert answer.state is State.RUNNING


async def test_after_a_final_state_there_is_one_new_status(place: Place) -> None:
    for state in (State.FAILED, State.RUNNING, State.SUCCESS, State.SUCCESS):
        answer = await place.client.set_status(place.target(), NewStatus("bessemer/a", state))
        assert answer.state is state
    assert [one.state for one in await place.client.list_statuses(place.target(), "bessemer/")] == [State.SUCCESS]


async def test_an_unknown_commit_or_pipeline_is_not_found(place: Place) -> None:
    with pytest.raises(GitLabNotFound):
        await place.client.set_status(Target(PROJECT, "9" * 40, "main"), NewStatus("bessemer/a", State.PENDING))
    with pytest.raises(GitLabNotFound):
        await place.client.list_statuses(Target(PROJECT, "9" * 40, "main"), "bessemer/")
    with pytest.raises(GitLabNotFound, match="Pipeline for pipeline_id"):
        await place.client.set_status(place.target(999_999), NewStatus("bessemer/a", State.PENDING))


async def test_a_merge_request_is_found_by_its_head(place: Place) -> None:
    assert [one.iid for one in await place.client.list_merge_requests(PROJECT, place.grown)] == [1]
    assert await place.client.list_merge_requests(PROJECT, place.main) == []
    found = await place.client.get_merge_request(PROJECT, 1)
    assert (found.commit, found.from_fork) == (place.grown, False)
    with pytest.raises(GitLabNotFound):
        await place.client.get_merge_request(PROJECT, 2)


async def test_a_note_is_found_by_its_marker_and_edited_in_place(place: Place) -> None:
    await place.client.create_note(PROJECT, 1, f"of another trigger, whose log says:\n{MARKER}", discussion=False)
    assert await place.client.find_note(PROJECT, 1, MARKER) is None
    note = await place.client.create_note(PROJECT, 1, f"{MARKER}\none", discussion=False)
    await place.client.update_note(PROJECT, 1, note.id, f"{MARKER}\ntwo")
    found = await place.client.find_note(PROJECT, 1, MARKER)
    assert found is not None
    assert (found.id, found.body, found.discussion) == (note.id, f"{MARKER}\ntwo", None)
    with pytest.raises(GitLabNotFound):
        await place.client.update_note(PROJECT, 1, 999_999, "x")


async def test_a_discussion_is_resolved_and_opened_again(place: Place) -> None:
    note = await place.client.create_note(PROJECT, 1, MARKER, discussion=True)
    assert note.discussion is not None
    for resolved in (True, True, False):
        await place.client.resolve_discussion(PROJECT, 1, note.discussion, resolved=resolved)
        found = await place.client.find_note(PROJECT, 1, MARKER)
        assert found is not None
        assert (found.id, found.discussion, found.resolved) == (note.id, note.discussion, resolved)


async def test_a_deployment_is_found_by_its_commit_and_changed(place: Place) -> None:
    assert await place.client.find_deployment(PROJECT, "oxygen", place.main) is None
    made = await place.client.create_deployment(PROJECT, NewDeployment("oxygen", place.main, "main", tag=False))
    assert made.state == "running"
    await place.client.update_deployment(PROJECT, made.id, "success")
    assert await place.client.find_deployment(PROJECT, "oxygen", place.main) == Deployment(made.id, "success")
    assert await place.client.find_deployment(PROJECT, "oxygen", place.grown) is None


async def test_another_users_note_is_not_ours_and_all_pages_are_read(site: Site) -> None:
    tokens = seed(site)
    client = connect(site, tokens["robot"])
    request = site.connect(tokens["other"]).projects.get(PROJECT).mergerequests.get(1)
    for number in range(120):
        request.notes.create({"body": f"{MARKER} {number}"})
    assert await client.find_note(PROJECT, 1, MARKER) is None
    note = await client.create_note(PROJECT, 1, MARKER, discussion=False)
    found = await client.find_note(PROJECT, 1, MARKER)
    assert found is not None
    assert found.id == note.id
    await client.close()


async def test_a_token_without_the_right_is_refused(site: Site) -> None:
    client = connect(site, seed(site)["reading"])
    commit = site.connect(seed(site)["robot"]).projects.get(PROJECT).branches.get("main").commit["id"]
    with pytest.raises(GitLabRefused):
        await client.set_status(Target(PROJECT, commit, "main"), NewStatus("bessemer/a", State.PENDING))
    await client.close()


async def test_a_locked_commit_is_worth_another_try(site: Site) -> None:
    tokens = seed(site)
    client = connect(site, tokens["robot"])
    commit = site.connect(tokens["robot"]).projects.get(PROJECT).branches.get("main").commit["id"]
    site.control.switch_fault(route="POST .*/statuses/", status=409)
    with pytest.raises(GitLabBusy):
        await client.set_status(Target(PROJECT, commit, "main"), NewStatus("bessemer/a", State.PENDING))
    await client.close()


async def test_a_merge_request_that_was_closed_is_told_nothing(site: Site) -> None:
    tokens = seed(site)
    project = site.connect(tokens["other"]).projects.get(PROJECT)
    request = project.mergerequests.get(1)
    request.state_event = "close"
    request.save()
    client = connect(site, tokens["robot"])
    commit = project.branches.get("grow").commit["id"]
    assert await client.list_merge_requests(PROJECT, commit) == []
    request.state_event = "reopen"
    request.save()
    assert [one.iid for one in await client.list_merge_requests(PROJECT, commit)] == [1]
    await client.close()
