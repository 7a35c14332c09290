"""Merge requests, comments on them, and pipelines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bessemer.gitlab.protocol import Comment
from bessemer.gitlab.reports import MergeRequest
from tests.support.trigger_world import MAIN, PROJECT, TriggerWorld, build_manifest, name_commit, push_body

MR = "refs/merge-requests/7/head"
FIRST, CHANGED = build_manifest(), build_manifest(onDelete="PowerOff")
NEON = build_manifest("neon", management={"host": "oxygen21"}, compute={"hosts": "oxygen[22-25]"})
TO_MAIN: dict[str, Any] = {"targetBranches": ["main"]}
PLAN = {"name": "check", "mergeRequest": TO_MAIN, "mode": "Plan"}
BUILD = {"name": "try", "mergeRequest": TO_MAIN}
COMMENT: dict[str, Any] = {"name": "ask", "comment": {}}
PIPELINE = {"name": "tested", "pipeline": {"refs": ["main"]}}


def request_body(commit: str, **changes: Any) -> dict[str, Any]:
    attributes = {
        "iid": 7,
        "action": "open",
        "state": "opened",
        "draft": False,
        "source_branch": "feature",
        "target_branch": "main",
        "source_project_id": 7,
        "target_project_id": 7,
        "last_commit": {"id": commit},
    }
    project = {"id": 7, "path_with_namespace": PROJECT}
    user = {"username": "ada", "id": 5}
    return {"object_kind": "merge_request", "project": project, "user": user, "object_attributes": attributes | changes}


def comment_body(commit: str, note: str, number: int = 90, **request: Any) -> dict[str, Any]:
    attributes = {"id": number, "note": note, "noteable_type": "MergeRequest", "action": "create", "system": False}
    merge_request = {"iid": 7, "last_commit": {"id": commit}, "source_project_id": 7, "target_project_id": 7}
    body = request_body(commit) | {"object_kind": "note", "object_attributes": attributes}
    return body | {"merge_request": merge_request | request}


def pipeline_body(commit: str, **changes: Any) -> dict[str, Any]:
    attributes = {"id": 3, "status": "success", "source": "push", "ref": "main", "tag": False, "sha": commit}
    return request_body(commit) | {"object_kind": "pipeline", "object_attributes": attributes | changes}


def open_request(world: TriggerWorld, word: str, oxygen: bytes = FIRST, **about: Any) -> str:
    world.repository.merge_requests[MR] = {"target": "main", **about}
    world.repository.unprotected.add(MR)
    return world.push(word, MR, oxygen=oxygen)


async def test_a_merge_request_gets_a_plan_and_nothing_is_built(world: TriggerWorld) -> None:
    await world.apply(rules=[PLAN])
    assert await world.receive(request_body(open_request(world, "one"))) == "Taken"
    assert (world.build(), world.states()) == (None, [("Planned", "Planned")])


async def test_a_merge_request_from_an_unprotected_branch_is_not_built_unless_the_rule_says_so(
    world: TriggerWorld,
) -> None:
    await world.apply(rules=[BUILD])
    commit = open_request(world, "one")
    await world.receive(request_body(commit))
    assert (world.build(), world.states()) == (None, [("Skipped", "RefNotProtected")])
    await world.apply(rules=[{"name": "any", "mergeRequest": {**TO_MAIN, "protectedOnly": False}}])
    await world.receive(request_body(commit))
    assert world.commit_of() == commit


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"action": "update"}, "NotMoved"),
        ({"action": "merge", "state": "merged"}, "NotMoved"),
        ({"action": "close", "state": "closed"}, "NotMoved"),
        ({"draft": True}, "Draft"),
        ({"source_project_id": 8}, "FromFork"),
        ({"target_branch": "other"}, "NoRule"),
        ({"last_commit": {}}, "InvalidWebhook"),
        ({"action": "update", "oldrev": "a" * 40}, "Taken"),
        ({"target_branch": None}, "Taken"),
    ],
)
async def test_an_event_of_a_merge_request_counts_only_where_the_head_moved(
    world: TriggerWorld, changes: dict[str, Any], outcome: str
) -> None:
    await world.apply(rules=[PLAN])
    assert await world.receive(request_body(open_request(world, "one"), **changes)) == outcome


@pytest.mark.parametrize(("about", "reason"), [({"fork": True}, "FromFork"), ({"draft": True}, "Draft")])
async def test_what_gitlab_says_of_a_merge_request_counts_not_what_the_event_says(
    world: TriggerWorld, about: dict[str, Any], reason: str
) -> None:
    await world.apply(rules=[PLAN])
    await world.receive(request_body(open_request(world, "one", **about)))
    assert world.states() == [("Skipped", reason)]


async def test_a_merge_request_that_is_closed_meanwhile_leads_to_nothing(world: TriggerWorld) -> None:
    await world.apply(rules=[PLAN])
    commit = open_request(world, "one")
    world.repository.merge_requests[MR]["closed"] = True
    await world.receive(request_body(commit))
    assert world.states() == [("Superseded", "Superseded")]


@pytest.mark.parametrize(
    ("oxygen", "state"), [(FIRST, ("Skipped", "PathsUnchanged")), (CHANGED, ("Planned", "Planned"))]
)
async def test_the_files_of_a_merge_request_are_compared_with_its_target(
    world: TriggerWorld, oxygen: bytes, state: tuple[str, str]
) -> None:
    world.push("main", oxygen=FIRST)
    await world.apply(rules=[{**PLAN, "paths": ["clusters/oxygen.yaml"]}])
    await world.receive(request_body(open_request(world, "request", oxygen)))
    assert world.states() == [state]


async def test_what_the_target_of_a_merge_request_has_beyond_is_no_change_of_it(world: TriggerWorld) -> None:
    base = world.push("base", oxygen=FIRST)
    main = world.push("main", oxygen=CHANGED)
    commit = open_request(world, "request", FIRST)
    world.repository.bases[main, commit] = base
    await world.apply(rules=[{**PLAN, "paths": ["clusters/oxygen.yaml"]}])
    await world.receive(request_body(commit))
    assert world.states() == [("Skipped", "PathsUnchanged")]


async def test_the_target_of_a_merge_request_is_not_the_tag_of_that_name(world: TriggerWorld) -> None:
    world.push("main", oxygen=FIRST)
    commit = open_request(world, "request", CHANGED)
    world.repository.commits["main"] = world.repository.commits[commit]
    await world.apply(rules=[{**PLAN, "paths": ["clusters/oxygen.yaml"]}])
    await world.receive(request_body(commit))
    assert world.states() == [("Planned", "Planned")]


@pytest.mark.parametrize(("role", "state"), [(30, ("Skipped", "NoMember")), (40, ("Building", "Applied"))])
async def test_a_comment_builds_if_its_author_has_the_role(
    world: TriggerWorld, role: int, state: tuple[str, str]
) -> None:
    await world.apply(rules=[COMMENT])
    world.repository.members[5] = role
    commit = open_request(world, "one")
    assert await world.receive(comment_body(commit, "/bessemer build\nplease")) == "Taken"
    assert world.states() == [state]


async def test_a_comment_is_about_the_commit_that_it_was_written_on(world: TriggerWorld) -> None:
    await world.apply(rules=[COMMENT])
    world.repository.members[5] = 50
    old = open_request(world, "one")
    open_request(world, "two")
    await world.receive(comment_body(old, "/bessemer build"))
    assert (world.build(), world.states()) == (None, [("Superseded", "Superseded")])


@pytest.mark.parametrize(
    "comment",
    [
        None,
        Comment(6, "/bessemer build", name_commit("one")),
        Comment(5, "looks good", name_commit("one")),
        Comment(5, "/bessemer plan", name_commit("one")),
        Comment(5, "/bessemer build", name_commit("earlier")),
        Comment(5, "/bessemer build", ""),
    ],
)
@pytest.mark.parametrize("command", ["build", "abort"])
async def test_a_comment_that_gitlab_does_not_confirm_orders_nothing_whatever_the_webhook_says(
    world: TriggerWorld, comment: Comment | None, command: str
) -> None:
    await world.apply(rules=[COMMENT])
    world.repository.members[5] = 50
    if comment is not None:
        comment = replace(comment, text=comment.text.replace("build", command))
    world.repository.comments[MR, 90] = comment
    assert await world.receive(comment_body(open_request(world, "one"), f"/bessemer {command}")) == "Taken"
    assert (world.build(), world.states()) == (None, [("Skipped", "CommentNotConfirmed")])


async def test_each_comment_is_an_event_and_the_same_comment_is_not(world: TriggerWorld) -> None:
    await world.apply(rules=[COMMENT])
    world.repository.members[5] = 50
    commit = open_request(world, "one")
    bodies = [comment_body(commit, "/bessemer plan", number) for number in (90, 91, 90)]
    assert [await world.receive(body) for body in bodies] == ["Taken", "Taken", "Known"]
    assert world.states() == [("Planned", "Planned")] * 2


async def test_a_fork_is_built_only_by_a_comment_and_a_rule_for_forks(world: TriggerWorld) -> None:
    await world.apply(rules=[COMMENT])
    world.repository.members[5] = 50
    commit = open_request(world, "one", fork=True)
    assert await world.receive(comment_body(commit, "/bessemer build", source_project_id=8)) == "FromFork"
    await world.receive(comment_body(commit, "/bessemer build"))
    assert world.states() == [("Skipped", "FromFork")]
    await world.apply(rules=[{"name": "ask", "comment": {"forks": True}}])
    await world.receive(comment_body(commit, "/bessemer build", 91, source_project_id=8))
    assert world.commit_of() == commit


async def test_a_comment_of_the_access_tokens_user_is_ignored(world: TriggerWorld) -> None:
    await world.apply(rules=[COMMENT])
    world.repository.members[5], world.repository.user_id = 50, 5
    await world.receive(comment_body(open_request(world, "one"), "/bessemer build"))
    assert (world.build(), world.states()) == (None, [("Skipped", "OwnComment")])


async def test_a_rule_for_comments_may_be_for_some_commands_only(world: TriggerWorld) -> None:
    plan = {"name": "look", "comment": {"commands": ["plan"], "accessLevel": "Developer"}}
    await world.apply(rules=[plan, {"name": "act", "comment": {"commands": ["build", "retry"]}}])
    world.repository.members[5] = 30
    commit = open_request(world, "one")
    assert await world.receive(comment_body(commit, "/bessemer plan", 90)) == "Taken"
    assert await world.receive(comment_body(commit, "/bessemer build", 91)) == "Taken"
    assert await world.receive(comment_body(commit, "/bessemer abort", 92)) == "NoRule"
    assert world.states() == [("Planned", "Planned"), ("Skipped", "NoMember")]


async def begin_two_builds(world: TriggerWorld) -> str:
    await world.apply(rules=[COMMENT])
    world.repository.members[5] = 50
    world.repository.merge_requests[MR] = {"target": "main"}
    world.reports.merge_requests[7] = MergeRequest(7, name_commit("one"), from_fork=False, branch="feature")
    commit = world.push("one", MR, oxygen=FIRST, neon=NEON)
    await world.receive(comment_body(commit, "/bessemer build", 90))
    return commit


async def test_a_comment_retries_what_has_failed_and_the_result_is_told_like_any_other(world: TriggerWorld) -> None:
    commit = await begin_two_builds(world)
    world.end_build("oxygen", ready=False)
    world.end_build("neon")
    await world.settle()
    assert world.states() == [("Failed", "InstallFailed")]
    neon = world.build("neon")
    await world.receive(comment_body(commit, "/bessemer retry", 91))
    assert world.states()[1:] == [("Building", "Applied")]
    assert world.build("neon") == neon
    assert world.reports.states(commit)["bessemer/site"] == "running"
    world.end_build("oxygen")
    await world.settle()
    assert world.states()[1:] == [("Succeeded", "Verified")]
    assert world.reports.states(commit)["bessemer/site"] == "success"


async def test_a_retry_without_a_failure_leads_to_nothing(world: TriggerWorld) -> None:
    commit = await begin_two_builds(world)
    await world.receive(comment_body(commit, "/bessemer retry", 91))
    assert world.states() == [("Building", "Applied"), ("Skipped", "NothingToRetry")]


async def test_a_retry_leaves_a_failed_build_of_another_commit_alone(world: TriggerWorld) -> None:
    await begin_two_builds(world)
    world.end_build("oxygen", ready=False)
    world.end_build("neon")
    await world.settle()
    later = world.push("two", MR, oxygen=CHANGED)
    await world.receive(comment_body(later, "/bessemer retry", 91))
    assert world.states()[1:] == [("Skipped", "NothingToRetry")]
    assert world.commit_of() == name_commit("one")


@pytest.mark.parametrize("closed", [False, True])
async def test_a_comment_aborts_the_builds_of_its_merge_request_even_if_that_is_closed(
    world: TriggerWorld, closed: bool
) -> None:
    commit = await begin_two_builds(world)
    if closed:
        world.repository.merge_requests[MR]["closed"] = True
    await world.receive(comment_body(commit, "/bessemer abort", 91))
    assert world.states() == [("Building", "Applied"), ("Skipped", "CommentAborted")]
    for name in ("oxygen", "neon"):
        raw = world.build(name)
        assert raw is not None
        assert "bessemer.dev/abort" in raw["metadata"]["annotations"]
        world.end_build(name, ready=False, reason="Aborted")
    await world.settle()
    assert world.states()[0] == ("Failed", "Aborted")
    assert world.reports.states(commit)["bessemer/site"] == "failed"


async def test_a_comment_on_a_merge_request_for_the_commit_of_a_branch_leaves_the_build_of_the_branch_alone(
    world: TriggerWorld,
) -> None:
    await world.apply(rules=[COMMENT, {"name": "push", "push": {"branches": ["main"]}}])
    world.repository.members[5] = 50
    commit = world.push("one", oxygen=FIRST)
    await world.receive(push_body(commit))
    assert open_request(world, "one") == commit
    await world.receive(comment_body(commit, "/bessemer abort", 91))
    assert world.states() == [("Building", "Applied"), ("Skipped", "NothingToAbort")]
    raw = world.build()
    assert raw is not None
    assert "bessemer.dev/abort" not in raw["metadata"]["annotations"]


async def test_an_aborted_build_can_be_retried(world: TriggerWorld) -> None:
    commit = await begin_two_builds(world)
    await world.receive(comment_body(commit, "/bessemer abort", 91))
    for name in ("oxygen", "neon"):
        world.end_build(name, ready=False, reason="Aborted")
    await world.receive(comment_body(commit, "/bessemer retry", 92))
    raw = world.build()
    assert raw is not None
    assert "bessemer.dev/abort" not in raw["metadata"]["annotations"]
    assert world.states()[2:] == [("Building", "Applied")]


async def test_an_abort_by_one_who_is_no_member_leaves_builds_alone(world: TriggerWorld) -> None:
    commit = await begin_two_builds(world)
    world.repository.members[5] = 30
    await world.receive(comment_body(commit, "/bessemer abort", 91))
    raw = world.build()
    assert raw is not None
    assert "bessemer.dev/abort" not in raw["metadata"]["annotations"]
    assert world.states()[1:] == [("Skipped", "NoMember")]


async def test_an_abort_drops_what_waits_and_is_done_when_there_is_nothing(world: TriggerWorld) -> None:
    commit = await begin_two_builds(world)
    await world.receive(comment_body(commit, "/bessemer build", 91))
    assert world.states()[1:] == [("Queued", "Queued")]
    await world.receive(comment_body(commit, "/bessemer abort", 92))
    assert world.states()[1:] == [("Skipped", "CommentAborted")] * 2
    for name in ("oxygen", "neon"):
        world.end_build(name, ready=False, reason="Aborted")
    await world.receive(comment_body(commit, "/bessemer abort", 93))
    assert world.states()[3:] == [("Skipped", "NothingToAbort")]


async def test_a_command_counts_however_long_the_rest_of_the_comment_is(world: TriggerWorld) -> None:
    """GitLab takes comments of a million characters, such as one with the log of what went wrong."""
    await world.apply(rules=[COMMENT])
    world.repository.members[5] = 40
    commit = open_request(world, "one")
    assert await world.receive(comment_body(commit, "/bessemer build\n" + "log \U0001f525 \\ \n" * 50_000)) == "Taken"
    assert world.commit_of() == commit
    assert await world.receive(comment_body(commit, "no command\n" + "x" * 900_000, 91)) == "OtherEvent"


@pytest.mark.parametrize("note", ["looks good", "/bessemer", "/bessemer erase", "please\n/bessemer build", ""])
async def test_other_comments_are_ignored(world: TriggerWorld, note: str) -> None:
    await world.apply(rules=[COMMENT])
    assert await world.receive(comment_body(open_request(world, "one"), note)) == "OtherEvent"


async def test_a_comment_that_is_edited_or_was_made_by_gitlab_is_ignored(world: TriggerWorld) -> None:
    await world.apply(rules=[COMMENT])
    changes: list[dict[str, Any]] = [{"action": "update"}, {"system": True}, {"noteable_type": "Issue"}]
    for change in changes:
        body = comment_body(open_request(world, "one"), "/bessemer build")
        body["object_attributes"] |= change
        assert await world.receive(body) == "OtherEvent"


async def test_a_pipeline_that_has_succeeded_builds_its_commit(world: TriggerWorld) -> None:
    await world.apply(rules=[PIPELINE])
    commit = world.push("one", MAIN, oxygen=FIRST)
    assert await world.receive(pipeline_body(commit)) == "Taken"
    assert world.commit_of() == commit


@pytest.mark.parametrize(
    "changes",
    [{"status": "failed"}, {"status": "running"}, {"source": "external"}, {"source": "parent_pipeline"}],
)
async def test_other_pipelines_are_ignored_and_so_are_those_of_our_own_statuses(
    world: TriggerWorld, changes: dict[str, Any]
) -> None:
    await world.apply(rules=[PIPELINE])
    assert await world.receive(pipeline_body(world.push("one", oxygen=FIRST), **changes)) == "OtherEvent"


@pytest.mark.parametrize(
    "changes",
    [
        {"draft": {"previous": True, "current": False}},
        {"title": {"previous": "Draft: grow", "current": "grow"}},
        {"title": {"previous": "[DRAFT] grow", "current": "grow"}},
    ],
)
async def test_a_draft_that_is_marked_as_ready_is_planned(world: TriggerWorld, changes: dict[str, Any]) -> None:
    """runatlantis/atlantis#3449: the plan comes only with the next commit."""
    await world.apply(rules=[PLAN])
    commit = open_request(world, "one", draft=True)
    assert await world.receive(request_body(commit, draft=True)) == "Draft"
    world.repository.merge_requests[MR]["draft"] = False
    assert await world.receive(request_body(commit, action="update") | {"changes": changes}) == "Taken"
    assert world.states() == [("Planned", "Planned")]
    again = request_body(commit, action="update") | {"changes": changes}
    assert await world.receive(again) == "Known"


async def test_a_draft_of_which_the_webhook_did_not_say_so_is_planned_once_it_is_ready(world: TriggerWorld) -> None:
    await world.apply(rules=[PLAN])
    commit = open_request(world, "one", draft=True)
    await world.receive(request_body(commit))
    assert world.states() == [("Skipped", "Draft")]
    world.repository.merge_requests[MR]["draft"] = False
    body = request_body(commit, action="update") | {"changes": {"draft": {"previous": True, "current": False}}}
    assert await world.receive(body) == "Taken"
    assert world.states()[-1] == ("Planned", "Planned")


async def test_a_merge_request_that_goes_to_another_branch_now_is_planned(world: TriggerWorld) -> None:
    """runatlantis/atlantis#6872: a branch upon which others are built is merged, and theirs go to main from then on."""
    await world.apply(rules=[PLAN])
    commit = open_request(world, "one", target="first-part")
    assert await world.receive(request_body(commit, target_branch="first-part")) == "NoRule"
    world.repository.merge_requests[MR]["target"] = "main"
    changes = {"target_branch": {"previous": "first-part", "current": "main"}}
    assert await world.receive(request_body(commit, action="update") | {"changes": changes}) == "Taken"
    assert world.states() == [("Planned", "Planned")]


async def test_a_merge_request_that_is_made_a_draft_or_gets_another_title_leads_to_nothing(world: TriggerWorld) -> None:
    await world.apply(rules=[PLAN])
    commit = open_request(world, "one")
    for changes in (
        {"draft": {"previous": False, "current": True}, "title": {"previous": "grow", "current": "Draft: grow"}},
        {"title": {"previous": "grow", "current": "shrink"}},
        {"labels": {"previous": [{"title": "Draft: x"}], "current": []}},
    ):
        body = request_body(commit, action="update", draft="draft" in changes) | {"changes": changes}
        assert await world.receive(body) == "NotMoved"
