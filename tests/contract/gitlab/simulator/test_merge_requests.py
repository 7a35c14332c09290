"""Merge requests, discussions, forks and members, as python-gitlab understands them and git fetches them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.gitlab.conftest import Site
from tests.contract.gitlab.simulator.conftest import MakeClone, Receiver
from tests.contract.gitlab.simulator.test_repository import open_project, refusal

COMMITS: list[dict[str, Any]] = [
    {"message": "Begin", "files": {"build.yaml": "nodes: oxygen[1-4]\n"}},
    {"message": "Grow", "branch": "grow", "files": {"build.yaml": "nodes: oxygen[1-8]\n", "late": "x\n"}},
]
LEVELS = {"reporter": 20, "developer": 30, "maintainer": 40}


@pytest.fixture
def tokens(site: Site) -> dict[str, str]:
    request = {"source_branch": "grow", "title": "Grow", "author": "developer"}
    return site.control.seed(
        projects=[
            {"path": "hpc/site", "commits": COMMITS, "merge_requests": [request]},
            {"path": "guest/site", "forked_from": "hpc/site"},
        ],
        users=[
            *({"username": name, "access": {"hpc": level}} for name, level in LEVELS.items()),
            {"username": "guest", "access": {"guest": 50, "hpc/site": 20}},
        ],
        tokens=[{"user": name, "name": name} for name in (*LEVELS, "guest")],
    )


def add_hook(site: Site, token: str, receiver: Receiver) -> None:
    wanted = {"push_events": False, "merge_requests_events": True, "note_events": True}
    open_project(site, token).hooks.create({"url": receiver.url, **wanted})


def get_url(site: Site, token: str, path: str = "hpc/site") -> str:
    return f"{site.url.replace('://', f'://any:{token}@')}/{path}.git"


def test_a_push_moves_the_head_and_an_edit_does_not(
    site: Site, tokens: dict[str, str], clone: MakeClone, receiver: Receiver
) -> None:
    add_hook(site, tokens["maintainer"], receiver)
    copy = clone(get_url(site, tokens["developer"]))
    copy.run("checkout", "--quiet", "grow")
    old, new = copy.run("rev-parse", "HEAD"), copy.commit("More", more="x\n")
    copy.run("push", "--quiet", "origin", "grow")
    (moved,) = receiver.take(1)
    attributes = moved.body["object_attributes"]
    assert (attributes["action"], attributes["oldrev"], attributes["last_commit"]["id"]) == ("update", old, new)
    assert copy.run("ls-remote", "origin", "refs/merge-requests/1/head").split()[0] == new
    request = open_project(site, tokens["developer"]).mergerequests.get(1)
    request.title = "Draft: Grow"
    request.save()
    (edited,) = receiver.take(1)
    assert (edited.body["object_attributes"]["action"], edited.body["object_attributes"]["draft"]) == ("update", True)
    assert "oldrev" not in edited.body["object_attributes"]
    assert edited.body["changes"]["draft"] == {"previous": False, "current": True}
    notes = [(one.system, one.body) for one in request.notes.list(get_all=True, sort="asc")]
    assert notes == [(True, "added 1 commit"), (True, "marked this merge request as **draft**")]
    assert request.notes.list(get_all=True, activity_filter="only_comments") == []
    assert open_project(site, tokens["developer"]).mergerequests.get(1).detailed_merge_status == "draft_status"


def test_what_a_merge_request_changes_is_listed_and_cut_off(site: Site, tokens: dict[str, str]) -> None:
    request = open_project(site, tokens["reporter"]).mergerequests.get(1)
    assert (request.changes_count, request.sha) == ("2", request.diff_refs["head_sha"])
    assert [one.title for one in request.commits()] == ["Grow"]
    changes: Any = request.changes()
    assert ([one["new_path"] for one in changes["changes"]], changes["overflow"]) == (["build.yaml", "late"], False)
    site.control.change_settings(diff_max_files=1)
    cut: Any = open_project(site, tokens["reporter"]).mergerequests.get(1).changes()
    assert (len(cut["changes"]), cut["overflow"], cut["changes_count"]) == (1, True, "1+")


def test_a_merge_is_a_push_to_the_target_branch(site: Site, tokens: dict[str, str], receiver: Receiver) -> None:
    project = open_project(site, tokens["maintainer"])
    project.hooks.create({"url": receiver.url, "push_events": True, "merge_requests_events": True})
    request = project.mergerequests.get(1)
    request.merge()
    deliveries = {one.body["object_kind"]: one.body for one in receiver.take(2)}
    merged = deliveries["merge_request"]["object_attributes"]
    assert (merged["action"], merged["state"]) == ("merge", "merged")
    assert deliveries["push"]["after"] == merged["merge_commit_sha"] == project.commits.get("main").id
    assert deliveries["push"]["total_commits_count"] == 2
    again = project.mergerequests.get(1)
    assert (again.state, again.merged_by["username"], again.detailed_merge_status) == (
        "merged", "maintainer", "not_open",
    )  # fmt: skip
    assert refusal(again.merge)[0] == 405
    assert (again.changes_count, [one.title for one in again.commits()]) == ("2", ["Grow"])
    for sha in (again.sha, again.merge_commit_sha):
        assert [one["iid"] for one in project.commits.get(sha).merge_requests()] == [1]


@pytest.mark.parametrize("how", ["--no-ff", "--ff-only"])
def test_a_push_that_has_the_head_of_a_merge_request_merges_it(
    site: Site, tokens: dict[str, str], clone: MakeClone, how: str
) -> None:
    project = open_project(site, tokens["maintainer"])
    before = project.mergerequests.get(1)
    copy = clone(get_url(site, tokens["maintainer"]))
    copy.run("merge", "--quiet", how, "--message=By hand", before.sha)
    copy.commit("Afterwards", later="")
    copy.run("push", "--quiet", "origin", "main")
    request = project.mergerequests.get(1)
    merged = before.sha if how == "--ff-only" else copy.run("rev-parse", "HEAD^")
    assert (request.state, request.merge_commit_sha) == ("merged", merged)
    assert [one["iid"] for one in project.commits.get(merged).merge_requests()] == [1]


def test_each_push_makes_a_version_and_an_edit_does_not(site: Site, tokens: dict[str, str], clone: MakeClone) -> None:
    copy = clone(get_url(site, tokens["developer"]))
    copy.run("checkout", "--quiet", "grow")
    old, new = copy.run("rev-parse", "HEAD"), copy.commit("More", more="x\n")
    copy.run("push", "--quiet", "origin", "grow")
    request = open_project(site, tokens["developer"]).mergerequests.get(1)
    request.title = "Draft: Grow"
    request.save()
    later, first = request.diffs.list()
    assert (later.head_commit_sha, first.head_commit_sha) == (new, old)
    assert later.created_at >= first.created_at


def test_a_pipeline_must_succeed_before_a_merge_where_the_project_wants_it(site: Site) -> None:
    tokens = site.control.seed(
        projects=[
            {
                "path": "hpc/strict", "commits": COMMITS, "merge_requests": [{"source_branch": "grow"}],
                "only_allow_merge_if_pipeline_succeeds": True,
                "only_allow_merge_if_all_discussions_are_resolved": True,
            }
        ],
        tokens=[{"user": "root", "name": "root"}],
    )  # fmt: skip
    project = open_project(site, tokens["root"], "hpc/strict")
    head = project.commits.get("grow")

    def status() -> str:
        return str(project.mergerequests.get(1).detailed_merge_status)

    assert status() == "ci_must_pass"
    head.statuses.create({"state": "pending"})
    assert status() == "ci_still_running"
    head.statuses.create({"state": "success"})
    assert status() == "mergeable"
    request = project.mergerequests.get(1)
    discussion = request.discussions.create({"body": "The plan"})
    assert status() == "discussions_not_resolved"
    discussion.resolved = True
    discussion.save()
    assert status() == "mergeable"


def test_discussions_are_made_answered_and_resolved(site: Site, tokens: dict[str, str], receiver: Receiver) -> None:
    add_hook(site, tokens["maintainer"], receiver)
    request = open_project(site, tokens["developer"]).mergerequests.get(1)
    comment = request.notes.create({"body": "alone"})
    discussion = request.discussions.create({"body": "The plan"})
    discussion.notes.create({"body": "An answer"})
    found = request.discussions.list(get_all=True)
    shown = [(one.attributes["individual_note"], [n["body"] for n in one.attributes["notes"]]) for one in found]
    assert shown == [(True, ["alone"]), (False, ["The plan", "An answer"])]
    assert [one.attributes["notes"][0]["resolvable"] for one in found] == [False, True]
    assert found[0].attributes["notes"][0]["id"] == comment.id
    reporter = open_project(site, tokens["reporter"]).mergerequests.get(1, lazy=True)
    assert refusal(lambda: reporter.discussions.update(discussion.id, {"resolved": True}))[0] == 403
    request.discussions.update(discussion.id, {"resolved": True})
    assert {n["resolved"] for n in request.discussions.get(discussion.id).attributes["notes"]} == {True}
    bodies = [one.body for one in receiver.take(3)]
    assert {one["object_attributes"]["note"] for one in bodies} == {"alone", "The plan", "An answer"}
    assert {one["merge_request"]["last_commit"]["id"] for one in bodies} == {request.sha}


def test_a_comment_that_is_edited_is_told_and_a_system_note_can_not_be(
    site: Site, tokens: dict[str, str], receiver: Receiver
) -> None:
    request = open_project(site, tokens["developer"]).mergerequests.get(1)
    note = request.notes.create({"body": "one"})
    request.state_event = "close"
    request.save()
    add_hook(site, tokens["maintainer"], receiver)
    request.notes.update(note.id, {"body": "two"})
    (told,) = receiver.take(1)
    assert (told.headers["X-Gitlab-Event"], told.body["object_attributes"]["action"]) == ("Note Hook", "update")
    assert (told.body["object_attributes"]["note"], told.body["user"]["username"]) == ("two", "developer")
    (closed,) = (one for one in request.notes.list(get_all=True) if one.system)
    assert refusal(lambda: request.notes.update(closed.id, {"body": "x"})) == (403, "403 Forbidden")


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({}, 409, "Another open merge request already exists for this source branch: !1"),
        ({"source_branch": "none"}, 409, "branch none not found"),
        ({"target_project_id": "x"}, 400, "target_project_id is invalid"),
        ({"target_project_id": 99}, 404, "404 Not found"),
    ],
)
def test_a_merge_request_that_can_not_be_is_refused(
    site: Site, tokens: dict[str, str], changes: dict[str, Any], status: int, said: str
) -> None:
    fields = {"source_branch": "grow", "target_branch": "main", "title": "Again"} | changes
    found = refusal(lambda: open_project(site, tokens["developer"]).mergerequests.create(fields))
    assert found[0] == status
    assert said in found[1]


def test_a_user_writes_so_many_notes_a_minute(site: Site, tokens: dict[str, str]) -> None:
    site.control.change_settings(notes_per_minute=2)
    request = open_project(site, tokens["developer"]).mergerequests.get(1)
    request.notes.create({"body": "one"})
    request.discussions.create({"body": "two"})
    assert refusal(lambda: request.notes.create({"body": "three"}, obey_rate_limit=False))[0] == 429
    open_project(site, tokens["reporter"]).mergerequests.get(1).notes.create({"body": "of another user"})
    site.control.advance_clock(60)
    request.notes.create({"body": "three"})


def test_a_merge_request_from_a_fork(site: Site, tokens: dict[str, str], clone: MakeClone, receiver: Receiver) -> None:
    add_hook(site, tokens["maintainer"], receiver)
    copy = clone(get_url(site, tokens["guest"], "guest/site"))
    sha = copy.commit("From outside", outside="x\n")
    copy.run("push", "--quiet", "origin", "HEAD:refs/heads/outside")
    target, fork = (open_project(site, tokens["guest"], path) for path in ("hpc/site", "guest/site"))
    number = site.connect(tokens["guest"]).projects.get("hpc/site").id
    fork.mergerequests.create(
        {"source_branch": "outside", "target_branch": "main", "title": "Outside", "target_project_id": number}
    )
    (opened,) = receiver.take(1)
    attributes = opened.body["object_attributes"]
    assert (attributes["action"], attributes["target_project_id"]) == ("open", number)
    assert (attributes["source"]["path_with_namespace"], attributes["last_commit"]["id"]) == ("guest/site", sha)
    assert copy.run("ls-remote", get_url(site, tokens["developer"]), "refs/merge-requests/2/head").split()[0] == sha
    statuses = open_project(site, tokens["developer"]).commits.get(sha, lazy=True).statuses
    assert refusal(lambda: statuses.create({"state": "running"})) == (404, "404 References for commit Not Found")
    made = statuses.create({"state": "running", "ref": "refs/merge-requests/2/head"})
    assert target.mergerequests.get(2).head_pipeline is None
    site.control.run_jobs("guest/site", {}, ref="outside")
    assert target.mergerequests.get(2).head_pipeline["id"] > made.pipeline_id
    assert [one.path_with_namespace for one in target.forks.list(get_all=True)] == ["guest/site"]


def test_a_pipeline_of_a_merge_request_is_its_head_pipeline(site: Site, tokens: dict[str, str]) -> None:
    site.control.run_jobs("hpc/site", {}, merge_request="hpc/site!1")
    site.control.run_jobs("hpc/site", {}, ref="grow")
    request = open_project(site, tokens["developer"]).mergerequests.get(1)
    head, other = request.pipelines.list(get_all=True)[::-1]
    assert request.head_pipeline["id"] == head.id
    assert (head.source, head.ref, other.source) == ("merge_request_event", "refs/merge-requests/1/head", "push")


def test_members_have_levels_that_groups_above_give_them(site: Site, tokens: dict[str, str]) -> None:
    client = site.connect(tokens["developer"])
    client.auth()
    assert client.user is not None
    project = client.projects.get("hpc/site")
    levels = {one.username: one.access_level for one in project.members_all.list(get_all=True)}
    assert levels == {"reporter": 20, "developer": 30, "maintainer": 40, "guest": 20}
    assert project.members_all.get(client.user.id).access_level == 30
    assert refusal(lambda: project.members.get(client.user.id if client.user else 0)) == (404, "404 Not found")
    (guest,) = client.users.list(get_all=True, username="guest")
    assert project.members.get(guest.id).access_level == 20


def test_a_project_is_forked_by_the_api(site: Site, tokens: dict[str, str], clone: MakeClone) -> None:
    made = open_project(site, tokens["reporter"]).forks.create({})
    assert made.forked_from_project["path_with_namespace"] == "hpc/site"
    copy = clone(get_url(site, tokens["reporter"], "reporter/site"))
    copy.commit("Mine", mine="x\n")
    copy.run("push", "--quiet", "origin", "HEAD:main")
    assert refusal(lambda: open_project(site, tokens["reporter"]).forks.create({}))[0] == 409
