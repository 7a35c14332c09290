"""Git over HTTP as git speaks it: who may fetch and push, and what webhooks are told of a push."""

from __future__ import annotations

from typing import Any

import pytest
import requests

import gitlab
from tests.contract.gitlab.conftest import Site
from tests.contract.gitlab.simulator.conftest import MakeClone, Receiver
from tests.support.clone import Clone

ZEROS = "0" * 40
LEVELS = {"guest": 10, "reporter": 20, "developer": 30, "maintainer": 40}
COMMITS: list[dict[str, Any]] = [
    {"message": "Begin", "files": {"build.yaml": "nodes: oxygen[1-4]\n"}, "symlinks": {"link": "build.yaml"}},
    {"message": "Grow", "branch": "grow", "files": {"build.yaml": "nodes: oxygen[1-8]\n"}},
]


@pytest.fixture
def tokens(site: Site) -> dict[str, str]:
    return site.control.seed(
        projects=[
            {"path": "hpc/site", "commits": COMMITS, "protected_tags": ["v*"]},
            {"path": "hpc/empty", "protected_branches": []},
        ],
        users=[{"username": name, "access": {"hpc": level}} for name, level in LEVELS.items()],
        tokens=[
            *({"user": name, "name": name} for name in LEVELS),
            {"user": "maintainer", "name": "reading", "scopes": ["read_repository"]},
            {"user": "maintainer", "name": "expired", "expires_in": 0},
        ],
    )


def get_url(site: Site, token: str, path: str = "hpc/site", user: str = "any") -> str:
    return f"{site.url.replace('://', f'://{user}:{token}@')}/{path}.git"


def add_hook(site: Site, token: str, receiver: Receiver, **events: bool) -> Any:
    wanted = {"push_events": True, "tag_push_events": True} | events
    return site.connect(token).projects.get("hpc/site").hooks.create({"url": receiver.url, **wanted})


def test_a_seeded_project_is_cloned_and_a_push_is_seen_by_the_api(
    site: Site, tokens: dict[str, str], clone: MakeClone
) -> None:
    copy = clone(get_url(site, tokens["developer"]))
    assert (copy.path / "link").is_symlink()
    assert (copy.path / "build.yaml").read_text() == "nodes: oxygen[1-4]\n"
    copy.run("checkout", "--quiet", "-b", "more")
    sha = copy.commit("More", new="text\n")
    copy.run("push", "--quiet", "origin", "more")
    project = site.connect(tokens["developer"]).projects.get("hpc/site")
    assert (project.commits.get("more").id, project.files.raw("new", sha)) == (sha, b"text\n")
    assert project.files.get("link", "main").decode() == b"build.yaml"
    assert [one.name for one in project.branches.list(get_all=True)] == ["grow", "main", "more"]


def test_the_first_push_to_an_empty_project(site: Site, tokens: dict[str, str], clone: MakeClone) -> None:
    copy = clone(get_url(site, tokens["developer"], "hpc/empty"))
    sha = copy.commit("First", new="text\n")
    copy.run("push", "--quiet", "origin", "HEAD:main")
    assert site.connect(tokens["developer"]).projects.get("hpc/empty").commits.get("HEAD").id == sha


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("guest", "403"),
        ("expired", "Authentication failed"),
        ("none", "Authentication failed"),
    ],
)
def test_who_may_not_fetch(site: Site, tokens: dict[str, str], clone: MakeClone, token: str, said: str) -> None:
    copy = clone(get_url(site, tokens["reporter"]))
    assert said in copy.run("ls-remote", get_url(site, tokens.get(token, "glpat-none")), ok=False)


@pytest.mark.parametrize(
    ("token", "refspec", "said"),
    [
        ("reporter", "HEAD:refs/heads/new", "403"),
        ("reading", "HEAD:refs/heads/new", "403"),
        ("developer", "HEAD:main", "You are not allowed to push code to protected branches on this project."),
        ("developer", "HEAD:refs/tags/v1", "You are not allowed to create this tag as it is protected."),
        ("maintainer", "+other:main", "You are not allowed to force push code to a protected branch"),
        ("maintainer", ":main", "The default branch of a project cannot be deleted."),
        ("maintainer", f"HEAD:refs/heads/{'a' * 40}", "40-character hexadecimal branch name"),
        ("maintainer", "HEAD:refs/merge-requests/1/head", "deny updating a hidden ref"),
    ],
)
def test_a_push_that_is_not_allowed_changes_nothing(
    site: Site, tokens: dict[str, str], clone: MakeClone, token: str, refspec: str, said: str
) -> None:
    copy = clone(get_url(site, tokens["reporter"]))
    copy.run("checkout", "--quiet", "--orphan", "other")
    copy.commit("Other")
    copy.run("checkout", "--quiet", "main")
    copy.commit("More")
    before = copy.run("ls-remote", "origin")
    assert said in copy.run("push", get_url(site, tokens[token]), refspec, ok=False)
    assert copy.run("ls-remote", "origin") == before


def test_a_public_project_is_fetched_without_a_login_and_no_more(
    site: Site, tokens: dict[str, str], clone: MakeClone
) -> None:
    site.control.seed(projects=[{"path": "hpc/open", "visibility": "public", "commits": COMMITS}])
    copy = clone(f"{site.url}/hpc/open.git")
    assert (copy.path / "build.yaml").read_text() == "nodes: oxygen[1-4]\n"
    assert "could not read Username" in copy.run("push", "origin", "HEAD:refs/heads/new", ok=False)
    assert "could not read Username" in copy.run("ls-remote", f"{site.url}/hpc/site.git", ok=False)


def test_the_token_of_a_job_fetches_while_the_job_runs(site: Site, tokens: dict[str, str], clone: MakeClone) -> None:
    copy = clone(get_url(site, tokens["developer"]))
    site.control.run_jobs("hpc/site", {}, ref="grow", user="developer")
    runner = site.control.create_runner(
        site.control.seed(
            users=[{"username": "admin", "admin": True}], tokens=[{"user": "admin", "name": "admin"}]
        )["admin"],
        runner_type="instance_type",
    )  # fmt: skip
    answer: Any = gitlab.Gitlab(site.url).http_post("/jobs/request", post_data={"token": runner["token"]})
    variables = {one["key"]: one["value"] for one in answer["variables"]}
    url, refspecs = answer["git_info"]["repo_url"], answer["git_info"]["refspecs"]
    assert "GIT_STRATEGY" not in variables
    copy.run("fetch", "--quiet", "--depth=1", url, *refspecs)
    assert copy.run("show", f"{answer['git_info']['sha']}:build.yaml") == "nodes: oxygen[1-8]"
    assert "403" in copy.run("push", url, "HEAD:refs/heads/new", ok=False)
    data = {"token": answer["token"], "state": "success"}
    assert requests.put(f"{site.url}/api/v4/jobs/{answer['id']}", json=data, timeout=10).ok
    assert "Authentication failed" in copy.run("ls-remote", url, ok=False)


def test_a_push_is_told_with_its_commits_and_options(
    site: Site, tokens: dict[str, str], clone: MakeClone, receiver: Receiver
) -> None:
    add_hook(site, tokens["maintainer"], receiver)
    copy = clone(get_url(site, tokens["maintainer"]))
    before = copy.run("rev-parse", "HEAD")
    first = copy.commit("One\n\nand more", new="text\n")
    copy.run("mv", "new", "moved")
    (copy.path / "link").unlink()
    second = copy.commit("Two", **{"build.yaml": "nodes: none\n"})
    options = ("ci.skip", "ci.variable=A=1", "mr.label=one", "mr.label=one", "no", "ci.none")
    copy.run("push", "--quiet", *(f"--push-option={one}" for one in options), "origin", "HEAD:main")
    (delivery,) = receiver.take(1)
    body = delivery.body
    assert (delivery.headers["X-Gitlab-Event"], body["object_kind"]) == ("Push Hook", "push")
    assert (body["ref"], body["before"], body["after"], body["checkout_sha"]) == (
        "refs/heads/main", before, second, second,
    )  # fmt: skip
    assert (body["ref_protected"], body["user_username"], body["total_commits_count"]) == (True, "maintainer", 2)
    assert [(one["id"], one["title"]) for one in body["commits"]] == [(first, "One"), (second, "Two")]
    assert [body["commits"][1][key] for key in ("added", "modified", "removed")] == [
        ["moved"], ["build.yaml"], ["link"],
    ]  # fmt: skip
    assert body["push_options"] == {
        "ci": {"skip": True, "variable": {"A=1": 1}},
        "merge_request": {"label": {"one": 2}},
    }


def test_twenty_commits_are_shown_and_all_are_counted(
    site: Site, tokens: dict[str, str], clone: MakeClone, receiver: Receiver
) -> None:
    add_hook(site, tokens["maintainer"], receiver)
    copy = clone(get_url(site, tokens["maintainer"]))
    shas = [copy.commit(f"Commit {number}") for number in range(23)]
    copy.run("push", "--quiet", "origin", "HEAD:main")
    (delivery,) = receiver.take(1)
    assert [one["id"] for one in delivery.body["commits"]] == shas[3:]
    assert delivery.body["total_commits_count"] == 23


def test_new_and_deleted_branches_and_tags_have_zeros(
    site: Site, tokens: dict[str, str], clone: MakeClone, receiver: Receiver
) -> None:
    add_hook(site, tokens["maintainer"], receiver)
    copy = clone(get_url(site, tokens["maintainer"]))
    sha = copy.run("rev-parse", "HEAD")
    copy.run("push", "--quiet", "origin", "HEAD:refs/heads/same")
    (made,) = receiver.take(1)
    assert (made.body["before"], made.body["after"], made.body["checkout_sha"]) == (ZEROS, sha, sha)
    assert (made.body["commits"], made.body["total_commits_count"]) == ([], 0)
    copy.run("push", "--quiet", "origin", ":same")
    (gone,) = receiver.take(1)
    assert (gone.body["before"], gone.body["after"], gone.body["checkout_sha"]) == (sha, ZEROS, None)
    copy.run("tag", "--annotate", "--message=Release", "v1")
    copy.run("push", "--quiet", "origin", "v1")
    (tagged,) = receiver.take(1)
    assert (tagged.headers["X-Gitlab-Event"], tagged.body["ref"]) == ("Tag Push Hook", "refs/tags/v1")
    assert (tagged.body["after"], tagged.body["checkout_sha"]) == (copy.run("rev-parse", "v1"), sha)
    assert tagged.body["after"] != sha
    assert (tagged.body["message"], tagged.body["ref_protected"]) == ("Release", True)


def test_a_push_of_more_than_three_new_branches_tells_of_none(
    site: Site, tokens: dict[str, str], clone: MakeClone, receiver: Receiver
) -> None:
    add_hook(site, tokens["maintainer"], receiver)
    copy = clone(get_url(site, tokens["maintainer"]))
    _push_branches(copy, 4)
    copy.run("push", "--quiet", "origin", ":new-0", ":new-1", ":new-2")
    assert {one.body["after"] for one in receiver.take(3)} == {ZEROS}
    branches = site.connect(tokens["reporter"]).projects.get("hpc/site").branches.list(get_all=True)
    assert [one.name for one in branches] == ["grow", "main", "new-3"]


def _push_branches(copy: Clone, count: int) -> None:
    copy.run("push", "--quiet", "origin", *(f"HEAD:refs/heads/new-{number}" for number in range(count)))
