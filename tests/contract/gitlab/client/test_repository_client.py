"""The fake repository and the real client against the simulator pass the same tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bessemer.gitlab.client import GitLabConnector
from bessemer.gitlab.protocol import AccessTokenRefused, Comment, GitLabNotFound, GitLabRejected, Repository
from bessemer.gitlab.repository import MOST_FILE_BYTES, RepositoryClient
from tests.contract.gitlab.conftest import Site
from tests.contract.gitlab.simulator.test_repository import open_project
from tests.fakes.gitlab import FakeRepository
from tests.support.trigger_world import name_commit

PROJECT = "hpc/sim"
MAIN, TAG = "refs/heads/main", "refs/tags/v1"


@dataclass
class World:
    """A repository behind its client, and how commits get into it."""

    repository: Repository
    push: Callable[..., str]
    """Branch, files and tags; None removes a file. Returns the name of the commit."""


@pytest.fixture(params=["fake", "real"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        fake = FakeRepository(PROJECT, unprotected={"refs/heads/feature/x", TAG})
        now: dict[str, bytes] = {}

        def push(branch: str, files: dict[str, Any], tags: tuple[str, ...] = (), message: str = "a change") -> str:
            for path, content in files.items():
                now.pop(path, None) if content is None else now.update({path: content.encode()})
            commit = name_commit(f"{len(fake.commits)}")
            for ref in (f"refs/heads/{branch}", *(f"refs/tags/{tag}" for tag in tags)):
                fake.push(ref, commit, dict(now), message)
            return commit

        yield World(fake, push)
        return
    site: Site = request.getfixturevalue("site")
    tokens = site.control.seed(
        projects=[{"path": PROJECT, "protected_branches": ["main"]}],
        users=[{"username": "reader", "access": {PROJECT: 20}}],
        tokens=[{"user": "reader", "name": "reader", "scopes": ["read_api"]}],
    )
    client = RepositoryClient(GitLabConnector().open_transport(site.url, tokens["reader"], None))

    def push_real(branch: str, files: dict[str, Any], tags: tuple[str, ...] = (), message: str = "a change") -> str:
        return site.control.add_commit(PROJECT, branch=branch, files=files, tags=list(tags), message=message)

    yield World(client, push_real)
    await client.close()


async def test_a_branch_points_at_its_latest_commit(world: World) -> None:
    world.push("main", {"a": "1"})
    commit = world.push("main", {"a": "2"}, message="two [skip ci]\n\nwhy")
    head = await world.repository.get_head(PROJECT, MAIN)
    assert head is not None
    assert (head.commit, head.protected, head.message.strip()) == (commit, True, "two [skip ci]\n\nwhy")


async def test_a_branch_with_a_slash_and_a_tag_are_found_and_say_whether_they_are_protected(world: World) -> None:
    world.push("main", {"a": "1"})
    commit = world.push("feature/x", {"a": "2"}, tags=("v1",))
    for ref in ("refs/heads/feature/x", TAG):
        head = await world.repository.get_head(PROJECT, ref)
        assert head is not None
        assert (head.commit, head.protected) == (commit, False)


async def test_all_branches_and_tags_are_listed(world: World) -> None:
    first = world.push("main", {"a": "1"})
    second = world.push("feature/x", {"a": "2"}, tags=("v1",))
    heads = await world.repository.list_heads(PROJECT)
    assert {ref: (head.commit, head.protected) for ref, head in heads.items()} == {
        MAIN: (first, True),
        "refs/heads/feature/x": (second, False),
        TAG: (second, False),
    }


async def test_a_ref_that_is_not_there_is_none_and_a_project_that_is_not_there_an_error(world: World) -> None:
    world.push("main", {"a": "1"})
    assert await world.repository.get_head(PROJECT, "refs/heads/no") is None
    assert await world.repository.get_head(PROJECT, "refs/tags/no") is None
    with pytest.raises(GitLabNotFound):
        await world.repository.get_head("hpc/no", MAIN)


async def test_a_file_is_that_of_the_commit(world: World) -> None:
    old = world.push("main", {"folder/a b.yaml": "one ü"})
    new = world.push("main", {"folder/a b.yaml": "two"})
    assert await world.repository.get_file(PROJECT, "folder/a b.yaml", old) == "one ü".encode()
    assert await world.repository.get_file(PROJECT, "folder/a b.yaml", new) == b"two"
    assert await world.repository.get_file(PROJECT, "folder/no.yaml", new) is None
    with pytest.raises(GitLabNotFound):
        await world.repository.get_file(PROJECT, "folder/a b.yaml", "0123456789" * 4)


async def test_files_are_listed_below_a_folder(world: World) -> None:
    files = {f"clusters/deep/{number:03}.yaml": "x" for number in range(120)}
    commit = world.push("main", {"README.md": "x", "clusters/a.yaml": "x", **files})
    assert sorted(await world.repository.list_files(PROJECT, "clusters", commit)) == ["clusters/a.yaml", *sorted(files)]
    assert "README.md" in await world.repository.list_files(PROJECT, "", commit)
    assert await world.repository.list_files(PROJECT, "no", commit) == []


async def test_what_differs_between_two_commits_is_compared(world: World) -> None:
    old = world.push("main", {"a": "1", "b": "1", "c": "1"})
    world.push("main", {"a": "2"})
    new = world.push("main", {"b": None, "d": "1"})
    changes = await world.repository.compare(PROJECT, old, new)
    assert (set(changes.paths), changes.complete) == ({"a", "b", "d"}, True)
    with pytest.raises(GitLabNotFound):
        await world.repository.compare(PROJECT, "0123456789" * 4, new)
    back = await world.repository.compare(PROJECT, new, old)
    assert set(back.paths) == {"a", "b", "d"}, "a branch that is set back has changed, too"


async def test_a_file_that_is_too_large_is_refused(site: Site) -> None:
    tokens = site.control.seed(
        projects=[{"path": PROJECT}],
        users=[{"username": "reader", "access": {PROJECT: 20}}],
        tokens=[{"user": "reader", "name": "reader", "scopes": ["read_api"]}],
    )
    client = RepositoryClient(GitLabConnector().open_transport(site.url, tokens["reader"], None))
    commit = site.control.add_commit(PROJECT, files={"a.yaml": "x" * (MOST_FILE_BYTES + 1)})
    with pytest.raises(GitLabRejected, match=r"a\.yaml is longer than"):
        await client.get_file(PROJECT, "a.yaml", commit)
    await client.close()


async def test_a_token_that_gitlab_does_not_know_is_refused(site: Site) -> None:
    site.control.seed(projects=[{"path": PROJECT}])
    client = RepositoryClient(GitLabConnector().open_transport(site.url, "glpat-unknown", None))
    with pytest.raises(AccessTokenRefused):
        await client.get_head(PROJECT, MAIN)
    await client.close()


async def test_a_comment_is_read_with_its_author_and_the_commit_that_it_was_written_on(site: Site) -> None:
    tokens = site.control.seed(
        projects=[
            {
                "path": "hpc/asked",
                "commits": [
                    {"message": "Begin", "files": {"a": "1"}},
                    {"message": "Grow", "branch": "grow", "files": {"a": "2"}},
                ],
                "merge_requests": [{"source_branch": "grow"}],
            }
        ],
        users=[{"username": "asker", "access": {"hpc/asked": 30}}],
        tokens=[{"user": "asker", "name": "asker", "scopes": ["api"]}],
    )
    request = open_project(site, tokens["asker"], "hpc/asked").mergerequests.get(1)
    ref, before = "refs/merge-requests/1/head", request.sha
    client = RepositoryClient(GitLabConnector().open_transport(site.url, tokens["asker"], None))
    first = request.notes.create({"body": "/bessemer build\nplease"})
    after = site.control.add_commit("hpc/asked", branch="grow", files={"a": "3"}, pushed_by="asker")
    second = request.notes.create({"body": "/bessemer plan"})
    user = await client.get_user_id()
    assert await client.get_comment("hpc/asked", ref, first.id) == Comment(user, "/bessemer build\nplease", before)
    assert await client.get_comment("hpc/asked", ref, second.id) == Comment(user, "/bessemer plan", after)
    request.notes.delete(second.id)
    assert await client.get_comment("hpc/asked", ref, second.id) is None
    with pytest.raises(GitLabNotFound):
        await client.get_comment("hpc/nothing", ref, first.id)
    await client.close()


@pytest.mark.parametrize(
    "name",
    ["fix#12", "50%", "a%2Fb", "a/b/c", "größe", "日本", "👩", "a+b", "a&b=c", "a;b", "a'b", 'a"b', "$(id)", "<b>",
     "a|b", "@all", "refs/heads/x", "refs/tags/v9", "refs/merge-requests/1/head"],
)  # fmt: skip
async def test_a_branch_may_have_any_name_that_git_takes(world: World, name: str) -> None:
    """gitpod-io/gitpod#1054, samrocketman/jervis#77: names with # and % are quoted not at all, or twice."""
    path = "clusters/a b#%2F?.yaml"
    commit = world.push(name, {path: "1"})
    head = await world.repository.get_head(PROJECT, f"refs/heads/{name}")
    assert head is not None
    assert head.commit == commit
    assert f"refs/heads/{name}" in await world.repository.list_heads(PROJECT)
    assert await world.repository.get_file(PROJECT, path, commit) == b"1"
    assert await world.repository.list_files(PROJECT, "clusters", commit) == [path]
