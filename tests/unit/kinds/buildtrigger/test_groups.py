"""A trigger for a group: the same branch of several projects is several things."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bessemer.gitlab.answers import AnswerTooLarge
from bessemer.gitlab.projectclient import ProjectClient
from bessemer.gitlab.protocol import GitLabNotFound, Scope
from bessemer.kinds.buildtrigger import execute
from bessemer.web.app import add_public_routes
from tests.fakes.gitlab import FakeGroup, FakeRepository
from tests.support.issuer import AUDIENCE
from tests.support.trigger_world import (
    KEY,
    MAIN,
    URL,
    TriggerWorld,
    build_manifest,
    name_commit,
    open_trigger_world,
    push_body,
)
from tests.unit.kinds.buildtrigger.test_merge_requests import comment_body, request_body

ONE, TWO, DEEP = "hpc/one", "hpc/two", "hpc/deep/three"
PATH = "clusters/oxygen.yaml"
GITLAB = {"url": URL, "group": "hpc", "apiTokenSecret": {"name": "gitlab"}, "webhookSecret": {"name": "hook"}}
RULES = [{"name": "main", "push": {"branches": ["main"]}}]
QUIET = {"statuses": "Off", "mergeRequests": "Off"}
NEON = build_manifest("neon", management={"host": "oxygen21"}, compute={"hosts": "oxygen[22-25]"})


class GroupWorld(TriggerWorld):
    """A world with a group of projects."""

    group: FakeGroup

    def open(self, *projects: FakeRepository) -> None:
        self.group = FakeGroup(*projects)
        client: Any = ProjectClient(self.group, self.reports, self.hooks)  # type: ignore[arg-type]  # it has what is used
        self.kind.deps.gitlabs.connect = lambda *_: client
        self.hooks.project = "hpc"

    def at(self, project: str) -> FakeRepository:
        return self.group.projects[project.lower()]

    def find_repository(self, project: str) -> FakeRepository:
        return self.at(project)

    def push_to(self, project: str, word: str, content: bytes | None, ref: str = MAIN) -> str:
        files = {PATH: content} if content is not None else {}
        self.at(project).push(ref, name_commit(word), files)
        return name_commit(word)

    async def tell(self, project: str, body: dict[str, Any]) -> str:
        self.pass_time(1)
        outcome = await self.take(body | {"project": {"id": 7, "path_with_namespace": project}})
        await self.settle(8)
        return outcome

    def events(self) -> list[tuple[str, str, str]]:
        found = reversed(self.status()["events"])
        return [(one["project"], one["state"], one.get("reason", "")) for one in found]

    def project_of(self, name: str = "oxygen") -> str:
        raw = self.build(name)
        assert raw is not None
        found: str = raw["metadata"]["annotations"]["bessemer.dev/project"]
        return found


@pytest.fixture
async def world() -> AsyncIterator[GroupWorld]:
    async with open_trigger_world() as opened:
        opened.__class__ = GroupWorld
        assert isinstance(opened, GroupWorld)
        opened.open(
            FakeRepository(ONE, project_id=1), FakeRepository(TWO, project_id=2), FakeRepository(DEEP, project_id=3)
        )
        await opened.apply(gitlab=GITLAB, rules=RULES, report=QUIET)
        await opened.settle(8)
        yield opened


async def test_pushes_to_several_projects_of_a_group_are_built(world: GroupWorld) -> None:
    one, two = world.push_to(ONE, "one", build_manifest()), world.push_to(DEEP, "two", NEON)
    assert await world.tell("HPC/One", push_body(one)) == "Taken"
    assert await world.tell(DEEP, push_body(two)) == "Taken"
    assert (world.commit_of(), world.commit_of("neon")) == (one, two)
    assert (world.project_of().lower(), world.project_of("neon")) == (ONE, DEEP)
    assert [project for project, _, _ in world.events()] == ["HPC/One", DEEP]
    assert world.condition("Ready") == ("True", "Listening")


@pytest.mark.parametrize("project", ["other/one", "hpcx/one", "hpc", ""])
async def test_events_of_other_projects_lead_to_nothing(world: GroupWorld, project: str) -> None:
    assert await world.tell(project, push_body(name_commit("one"))) == "OtherProject"
    assert world.records() == {}


@pytest.mark.parametrize("project", ["hpc/../other/one", "hpc/./one", "hpc/.."])
async def test_a_path_that_leads_out_of_the_group_is_none(world: GroupWorld, project: str) -> None:
    assert await world.tell(project, push_body(name_commit("one"))) == "InvalidWebhook"
    assert world.records() == {}


async def test_the_same_commit_of_the_same_branch_in_two_projects_is_two_events(world: GroupWorld) -> None:
    commit = world.push_to(ONE, "same", build_manifest())
    world.push_to(TWO, "same", NEON)
    for project in (ONE, TWO, TWO, ONE):
        await world.tell(project, push_body(commit))
    assert [project for project, _, _ in world.events()] == [ONE, TWO]
    assert (world.project_of(), world.project_of("neon")) == (ONE, TWO)


async def test_where_a_branch_of_one_project_points_says_nothing_of_another_project(world: GroupWorld) -> None:
    old, new = world.push_to(TWO, "old", NEON), world.push_to(ONE, "new", build_manifest())
    await world.tell(ONE, push_body(new))
    await world.tell(TWO, push_body(old))
    assert world.events() == [(ONE, "Building", "Applied"), (TWO, "Building", "Applied")]
    world.push_to(TWO, "newer", NEON)
    await world.tell(TWO, push_body(name_commit("gone")))
    assert world.events()[-1] == (TWO, "Superseded", "Superseded")


async def test_a_rule_may_be_limited_to_projects(world: GroupWorld) -> None:
    rules = [{**RULES[0], "projects": ["hpc/deep/*", "HPC/t*"]}]
    await world.apply(gitlab=GITLAB, rules=rules, report=QUIET)
    await world.settle(8)
    assert await world.tell(ONE, push_body(world.push_to(ONE, "one", build_manifest()))) == "NoRule"
    assert await world.tell(DEEP, push_body(world.push_to(DEEP, "two", build_manifest()))) == "Taken"
    assert world.project_of() == DEEP


async def test_what_no_webhook_has_told_is_found_in_each_project_and_what_was_there_leads_to_nothing(
    world: GroupWorld,
) -> None:
    world.push_to(ONE, "one", build_manifest())
    world.push_to(TWO, "two", NEON)
    world.pass_time(601)
    await world.settle(8)
    assert world.records() == {}, "a project is compared from its first reading on"
    refs = {(one["project"], one["ref"]) for one in world.status()["refs"]}
    assert refs == {(ONE, MAIN), (TWO, MAIN)}
    await world.restart_operator()
    world.open(*world.group.projects.values())
    later = world.push_to(TWO, "three", NEON)
    world.pass_time(601)
    await world.settle(8)
    assert world.events() == [(TWO, "Building", "Applied")]
    assert world.commit_of("neon") == later


async def test_a_project_that_can_not_be_read_holds_up_no_other_and_loses_nothing(
    world: GroupWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.push_to(ONE, "one", build_manifest())
    world.push_to(TWO, "two", NEON)
    world.pass_time(601)
    await world.settle(8)
    real = world.at(ONE).list_heads
    for error in (GitLabNotFound("404 Repository Not Found"), AnswerTooLarge("more than 4 MiB")):

        async def fail(_: str, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(world.at(ONE), "list_heads", fail)
        world.pass_time(601)
        await world.settle(8)
        assert {(one["project"], one["ref"]) for one in world.status()["refs"]} == {(ONE, MAIN), (TWO, MAIN)}
    assert world.condition("SourceReachable") == ("False", "RefsTooLarge")
    commit = world.push_to(ONE, "later", build_manifest())
    monkeypatch.setattr(world.at(ONE), "list_heads", real)
    world.pass_time(601)
    await world.settle(8)
    assert world.commit_of() == commit
    assert world.condition("SourceReachable") == ("True", "Reachable")


async def test_only_so_many_projects_are_compared_and_the_condition_says_so(
    world: GroupWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "MOST_PROJECTS", 2)
    for project in (ONE, TWO, DEEP):
        world.push_to(project, "one", build_manifest())
    world.pass_time(601)
    await world.settle(8)
    assert {one["project"] for one in world.status()["refs"]} == {ONE, TWO}
    assert world.condition("SourceReachable") == ("False", "RefsTooLarge")


async def test_an_event_is_not_held_up_by_the_reading_of_many_projects(
    world: GroupWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    async def list_projects(_: str) -> list[str]:
        built.append(world.build() is not None)
        return [ONE]

    monkeypatch.setattr(world.group, "list_projects", list_projects)
    commit = world.push_to(ONE, "one", build_manifest())
    world.pass_time(601)
    await world.take(push_body(commit) | {"project": {"id": 1, "path_with_namespace": ONE}})
    await world.settle()
    assert world.commit_of() == commit
    assert built == [True]


async def test_a_comment_aborts_nothing_of_another_project(world: GroupWorld) -> None:
    ref = "refs/merge-requests/7/head"
    rules = [{"name": "try", "mergeRequest": {"targetBranches": ["main"]}}, {"name": "ask", "comment": {}}]
    await world.apply(gitlab=GITLAB, rules=rules, report=QUIET)
    await world.settle(8)
    commits = {}
    for project, manifest in ((ONE, build_manifest()), (TWO, NEON)):
        world.at(project).merge_requests[ref] = {"target": "main"}
        world.at(project).members[5] = 40
        commits[project] = world.push_to(project, project, manifest, ref)
        await world.tell(project, request_body(commits[project]))
    assert world.project_of("neon") == TWO
    await world.tell(TWO, comment_body(commits[TWO], "/bessemer abort"))
    for name, aborted in (("oxygen", False), ("neon", True)):
        raw = world.build(name)
        assert raw is not None
        assert ("bessemer.dev/abort" in raw["metadata"]["annotations"]) == aborted


async def test_a_manifest_that_is_gone_prunes_nothing_of_another_project(world: GroupWorld) -> None:
    await world.apply(gitlab=GITLAB, rules=RULES, report=QUIET, prune="Delete")
    await world.tell(ONE, push_body(world.push_to(ONE, "one", build_manifest())))
    world.end_build()
    await world.settle(8)
    await world.tell(TWO, push_body(world.push_to(TWO, "two", None)))
    assert world.build() is not None
    await world.tell(ONE, push_body(world.push_to(ONE, "three", None)))
    assert world.build() is None


async def test_lost_events_are_looked_for_at_the_webhooks_of_the_group(
    world: GroupWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = world.hooks.list_hooks

    async def list_hooks(scope: Scope, path: str) -> Any:
        asked.append(str(scope))
        return await real(scope, path)

    monkeypatch.setattr(world.hooks, "list_hooks", list_hooks)
    world.pass_time(601)
    await world.settle(8)
    assert asked == ["group hpc"]


@pytest.mark.parametrize(("number", "status", "reason"), [(2, 202, ""), (9, 403, "OtherProject")])
async def test_a_job_of_a_project_of_the_group_gets_a_build(
    world: GroupWorld, number: int, status: int, reason: str
) -> None:
    rules = [{"name": "button", "projects": ["hpc/two"], "job": {"refs": ["main"], "audience": AUDIENCE}}]
    await world.apply(gitlab=GITLAB, rules=rules, report=QUIET)
    await world.settle(8)
    commit = world.push_to(TWO, "one", build_manifest())
    world.at(TWO).jobs[302] = "running"
    app = web.Application()
    add_public_routes(app, world.kind.routes.public, world.deps.metrics)
    async with TestClient(TestServer(app)) as client:
        token = world.issuer.issue(world.now(), sha=commit, project_id=str(number))
        answer = await client.post(
            f"/v1/triggers/{KEY[0]}/{KEY[1]}/job", headers={"Authorization": f"Bearer {token}"}, json={}
        )
        assert (answer.status, (await answer.json()).get("reason") if reason else "") == (status, reason)
        await world.settle(8)
        assert (world.build() is not None) == (status == 202)
        if status == 202:
            assert world.project_of() == TWO
            token = world.issuer.issue(world.now(), sha=commit, project_id="1", job_id="303")
            answer = await client.post(
                f"/v1/triggers/{KEY[0]}/{KEY[1]}/job", headers={"Authorization": f"Bearer {token}"}, json={}
            )
            assert (await answer.json())["reason"] == "NoRule", "the rule is for another project"
