"""A trigger for a group against the simulator: its projects, the group's webhook, and statuses where they belong."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from bessemer.api.references import ScopeType
from bessemer.gitlab.client import GitLabConnector
from bessemer.gitlab.projectclient import build_project_client
from bessemer.gitlab.protocol import Scope
from bessemer.kinds.buildtrigger.report.decide import FIRST_SECONDS
from tests.contract.gitlab.client.test_lost_events import PATH as HOOK_PATH
from tests.contract.gitlab.client.test_lost_events import serve, wait_for_deliveries
from tests.contract.gitlab.conftest import Site
from tests.support.trigger_world import PATH, build_manifest, open_trigger_world

ONE, TWO, OTHER = "hpc/one", "hpc/deep/two", "other/three"
RULES = [{"name": "main", "push": {"branches": ["main"], "protectedOnly": False}}]


def seed(site: Site) -> str:
    projects = [{"path": path, "commits": [{"files": {"README": "x"}}]} for path in (ONE, TWO, OTHER)]
    users = [{"username": "robot", "access": {"hpc": 50, "other": 30}}, {"username": "ada", "access": {"hpc": 40}}]
    return site.control.seed(projects=projects, users=users, tokens=[{"user": "robot", "name": "robot"}])["robot"]


def list_statuses(client: Any, project: str, commit: str) -> Any:
    return client.projects.get(project).commits.get(commit).statuses.list()


async def test_the_projects_of_a_group_and_of_those_below_are_listed(site: Site) -> None:
    token = await asyncio.to_thread(seed, site)
    client = build_project_client(GitLabConnector().open_transport(site.url, token, None))
    try:
        assert await client.repository.list_projects("hpc") == [ONE, TWO]
        assert await client.repository.list_projects("hpc/deep") == [TWO]
        number = await client.repository.get_project_id(TWO)
        assert await client.repository.get_project_path(number) == TWO
        assert await client.repository.get_project_path(9999) is None
        assert await client.hooks.list_hooks(Scope(ScopeType.GROUP, "hpc"), HOOK_PATH) == []
    finally:
        await client.close()


async def test_pushes_to_a_group_are_built_and_told_in_their_projects_and_lost_ones_are_found(site: Site) -> None:
    token = await asyncio.to_thread(seed, site)
    neon = build_manifest("neon", management={"host": "oxygen21"}, compute={"hosts": "oxygen[22-25]"})
    async with open_trigger_world() as world:
        world.clock[0] = datetime.now(UTC) - timedelta(seconds=60)
        world.kind.deps.gitlabs.connect = lambda *to: build_project_client(GitLabConnector().open_transport(*to))
        await world.put_secret("gitlab", token)
        world.kubernetes.edit("secrets", "lab", "gitlab", {"metadata": {"annotations": {"bessemer.dev/for": site.url}}})
        gitlab = {"url": site.url, "group": "hpc", "apiTokenSecret": {"name": "gitlab"}}
        await world.apply(gitlab=gitlab | {"webhookSecret": {"name": "hook"}}, rules=RULES)
        await world.settle(8)
        state = {"down": False}
        async with serve(world, state) as url:
            hook: dict[str, Any] = {"group": "hpc", "url": url, "token": "hook-secret", "events": ["push_events"]}
            await asyncio.to_thread(lambda: site.control.add_hook(**hook))
            one = await asyncio.to_thread(
                lambda: site.control.add_commit(ONE, pushed_by="ada", files={PATH: build_manifest().decode()})
            )
            await wait_for_deliveries(site, 1)
            await world.settle(8)
            assert world.commit_of() == one
            state["down"] = True
            two = await asyncio.to_thread(
                lambda: site.control.add_commit(TWO, pushed_by="ada", files={PATH: neon.decode()})
            )
            await wait_for_deliveries(site, 2)
            assert world.build("neon") is None
            state["down"] = False
            world.clock[0] = datetime.now(UTC) + timedelta(seconds=700)
            await world.settle(12)
        assert world.commit_of("neon") == two
        world.pass_time(FIRST_SECONDS)
        for name in ("oxygen", "neon"):
            world.work(name, Preflight="Succeeded")
            world.end_build(name)
        await world.settle(12)
        assert [event["state"] for event in world.status()["events"]] == ["Succeeded", "Succeeded"]
        assert {event["project"] for event in world.status()["events"]} == {ONE, TWO}
    root = await asyncio.to_thread(lambda: site.connect(token))
    for project, commit, name in ((ONE, one, "oxygen"), (TWO, two, "neon")):
        found = await asyncio.to_thread(list_statuses, root, project, commit)
        assert {status.name: status.status for status in found} == {
            "bessemer/site": "success",
            f"bessemer/{name}/Preflight": "success",
        }
