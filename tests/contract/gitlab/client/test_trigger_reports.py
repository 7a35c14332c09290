"""A whole trigger that tells the simulator what becomes of a push; Kubernetes is the fake."""

from __future__ import annotations

from typing import Any

from bessemer.gitlab.client import GitLabConnector
from bessemer.gitlab.reporter import ReportClient
from tests.contract.gitlab.conftest import Site
from tests.support.trigger_world import MAIN, PATH, PROJECT, build_manifest, open_trigger_world, push_body


def connect(site: Site, token: str) -> Any:
    """Return the real client, in the place of the fake."""
    return ReportClient(GitLabConnector().open_transport(site.url, token, None))


async def test_statuses_note_and_deployment_of_a_push_are_true_at_the_end(site: Site) -> None:
    manifest = build_manifest()
    tokens = site.control.seed(
        projects=[
            {
                "path": PROJECT,
                "commits": [{"files": {"README": "x"}}, {"branch": "grow", "files": {PATH: manifest.decode()}}],
                "merge_requests": [{"source_branch": "grow", "title": "Grow"}],
            }
        ],
        users=[{"username": "robot", "access": {PROJECT: 40}}],
        tokens=[{"user": "robot", "name": "robot"}, {"user": "root", "name": "root"}],
    )
    project = site.connect(tokens["root"]).projects.get(PROJECT)
    commit = project.branches.get("grow").commit["id"]
    async with open_trigger_world() as world:
        world.reports = connect(site, tokens["robot"])
        await world.apply(
            rules=[{"name": "all", "push": {"branches": ["*"]}}], report={"environment": "clusters/{cluster}"}
        )
        await world.settle()
        grow = MAIN.replace("main", "grow")
        world.repository.push(grow, commit, {PATH: manifest})
        await world.take(push_body(commit, ref=grow))
        await world.settle()
        world.work(Preflight="Running")
        await world.settle()
        world.reports = connect(site, tokens["robot"])
        await world.restart_operator()
        world.work(Preflight="Succeeded", BootManagement="Running")
        await world.settle()
        world.work(Preflight="Succeeded", BootManagement="Succeeded")
        world.end_build()
        await world.settle()
        assert world.condition("Reporting") == ("True", "Reported")
    statuses = project.commits.get(commit).statuses.list(get_all=True)
    assert {one.name: one.status for one in statuses} == {
        "bessemer/site": "success",
        "bessemer/oxygen/Preflight": "success",
        "bessemer/oxygen/BootManagement": "success",
    }
    assert len({one.pipeline_id for one in statuses}) == len(statuses) - 2 == 1
    (note,) = [one for one in project.mergerequests.get(1).notes.list(get_all=True) if not one.system]
    assert "Succeeded" in note.body
    assert "| ✔ | BootManagement |" in note.body
    (deployment,) = project.deployments.list(get_all=True)
    assert (deployment.status, deployment.environment["name"]) == ("success", "clusters/oxygen")
