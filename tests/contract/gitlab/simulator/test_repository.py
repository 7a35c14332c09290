"""Files at a commit, commit statuses, merge requests and notes as python-gitlab understands them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import requests
from gitlab.v4.objects import Project

import gitlab
from tests.contract.gitlab.conftest import Site

BUILD = "kind: ClusterBuild\nnodes: oxygen[1-4]\n"
COMMITS = [
    {"message": "Begin\n\nwith little", "files": {"build.yaml": BUILD, "bin/run it.sh": "#!/bin/sh\n"},
     "executable": ["bin/run it.sh"], "tags": ["v1"]},
    {"message": "Say how", "files": {"README.md": "How\nand why\n", "bin/run it.sh": None}},
    {"message": "Grow", "branch": "grow", "files": {"build.yaml": "kind: ClusterBuild\nnodes: oxygen[1-8]\n"}},
]  # fmt: skip


@pytest.fixture
def tokens(site: Site) -> dict[str, str]:
    request = {"source_branch": "grow", "title": "Grow", "author": "developer"}
    return site.control.seed(
        projects=[{"path": "hpc/site", "commits": COMMITS, "merge_requests": [request]}, {"path": "hpc/empty"}],
        users=[
            {"username": name, "access": {"hpc": level}}
            for name, level in (("guest", 10), ("reporter", 20), ("developer", 30), ("maintainer", 40))
        ],
        tokens=[
            {"user": "guest", "name": "guest"},
            {"user": "reporter", "name": "reporter"},
            {"user": "developer", "name": "developer"},
            {"user": "developer", "name": "reading", "scopes": ["read_api"]},
            {"user": "developer", "name": "files", "scopes": ["read_repository"]},
            {"user": "maintainer", "name": "maintainer"},
        ],
    )


def open_project(site: Site, token: str, path: str = "hpc/site") -> Project:
    return site.connect(token).projects.get(path, lazy=True)


def refusal(call: Any) -> tuple[int | None, str]:
    with pytest.raises(gitlab.GitlabError) as caught:
        call()
    return caught.value.response_code, str(caught.value.error_message)


def test_a_file_is_read_at_a_branch_a_tag_a_commit_and_the_head(site: Site, tokens: dict[str, str]) -> None:
    project = open_project(site, tokens["reading"])
    head = project.commits.get("main")
    for ref in ("main", "refs/heads/main", head.id, head.short_id, "HEAD"):
        assert project.files.get("README.md", ref).decode() == b"How\nand why\n"
    grown = project.files.get("build.yaml", "grow")
    assert b"oxygen[1-8]" in grown.decode()
    old = project.files.get("bin/run it.sh", "v1")
    assert (old.file_name, old.file_path, old.size, old.encoding) == ("run it.sh", "bin/run it.sh", 10, "base64")
    assert (old.ref, old.execute_filemode, old.commit_id) == ("v1", True, project.commits.get("v1").id)
    assert old.blob_id == "1a2485251c33a70432394c93fb89330ef214bfc9"  # as git hash-object says
    assert old.content_sha256 == hashlib.sha256(b"#!/bin/sh\n").hexdigest()
    assert refusal(lambda: project.files.get("bin/run it.sh", "main")) == (404, "404 File Not Found")


def test_the_last_commit_of_a_file_is_the_one_that_changed_it(site: Site, tokens: dict[str, str]) -> None:
    project = open_project(site, tokens["reading"])
    file = project.files.get("build.yaml", "main")
    assert (file.commit_id, file.last_commit_id) == (project.commits.get("main").id, project.commits.get("v1").id)
    assert project.files.get("build.yaml", "grow").last_commit_id == project.commits.get("grow").id


def test_a_file_is_read_as_it_is_and_told_of_by_headers_alone(site: Site, tokens: dict[str, str]) -> None:
    project = open_project(site, tokens["files"])
    assert project.files.raw("build.yaml", "v1") == BUILD.encode()
    assert project.files.raw("README.md") == b"How\nand why\n"
    headers = project.files.head("bin/run it.sh", "v1")
    assert (headers["X-Gitlab-File-Path"], headers["X-Gitlab-Size"]) == ("bin/run it.sh", "10")
    assert headers["X-Gitlab-Execute-Filemode"] == "true"
    assert refusal(lambda: project.files.raw("nothing", "v1")) == (404, "404 File Not Found")
    assert refusal(lambda: project.files.head("nothing", "v1"))[0] == 404


def test_a_commit_says_what_it_changed_and_what_became_of_it(site: Site, tokens: dict[str, str]) -> None:
    project = open_project(site, tokens["reporter"])
    first, second = project.commits.get("v1"), project.commits.get("main")
    assert (first.title, first.message, first.parent_ids) == ("Begin", "Begin\n\nwith little", [])
    assert (second.parent_ids, second.stats) == ([first.id], {"additions": 2, "deletions": 1, "total": 3})
    assert (second.status, second.last_pipeline) == (None, None)
    (job,) = site.control.run_jobs("hpc/site", {"name": "check"})
    assert project.jobs.get(job).commit["title"] == "Say how"
    again = project.commits.get(second.id)
    assert (again.status, again.last_pipeline["sha"]) == ("pending", second.id)
    assert refusal(lambda: open_project(site, tokens["reporter"], "hpc/empty").commits.get("main"))[0] == 404
    assert refusal(lambda: project.commits.get("f" * 40)) == (404, "404 Commit Not Found")


def test_a_commit_that_comes_later_moves_its_branch(site: Site, tokens: dict[str, str]) -> None:
    project = open_project(site, tokens["reading"])
    before = project.commits.get("main").id
    sha = site.control.add_commit("hpc/site", message="More", start="v1", files={"build.yaml": "kind: None\n"})
    assert (project.commits.get("main").id, project.commits.get(sha).parent_ids) == (sha, [before])
    with pytest.raises(Exception, match="404"):
        site.control.add_commit("hpc/site", branch="new", start="nowhere")


def test_branches_and_tags_are_listed(site: Site, tokens: dict[str, str]) -> None:
    project = open_project(site, tokens["developer"])
    branches = {one.name: one for one in project.branches.list(get_all=True)}
    assert {name: (one.default, one.protected, one.can_push) for name, one in branches.items()} == {
        "grow": (False, False, True),
        "main": (True, True, False),
    }
    assert branches["grow"].commit["title"] == "Grow"
    assert [one.name for one in project.branches.list(get_all=True, search="^gr")] == ["grow"]
    assert project.branches.get("main").commit["id"] == project.commits.get("main").id
    (tag,) = project.tags.list(get_all=True)
    assert (tag.name, tag.target, tag.protected) == ("v1", project.commits.get("v1").id, False)
    assert refusal(lambda: project.branches.get("none")) == (404, "404 Branch Not Found")


def test_a_folder_is_listed_by_pages_folders_first(site: Site, tokens: dict[str, str]) -> None:
    site.control.add_commit("hpc/site", files={f"many/{number:03}": "" for number in range(120)})
    project = open_project(site, tokens["files"])
    tree = project.repository_tree(ref="v1", get_all=True)
    assert [(one["type"], one["path"], one["mode"]) for one in tree] == [
        ("tree", "bin", "040000"),
        ("blob", "build.yaml", "100644"),
    ]
    paths = [one["path"] for one in project.repository_tree(path="many", per_page=50, iterator=True)]
    assert paths == [f"many/{number:03}" for number in range(120)]
    deep = project.repository_tree(ref="v1", recursive=True, get_all=True)
    assert [one["path"] for one in deep] == ["bin", "bin/run it.sh", "build.yaml"]


def test_two_commits_are_compared_from_where_they_part(site: Site, tokens: dict[str, str]) -> None:
    project = open_project(site, tokens["reading"])
    site.control.add_commit("hpc/site", branch="grow", files={"bin/run it.sh": None, "late": "x\n"})
    found: Any = project.repository_compare("v1", "main")
    assert [one["title"] for one in found["commits"]] == ["Say how"]
    assert [(one["new_path"], one["new_file"], one["deleted_file"]) for one in found["diffs"]] == [
        ("README.md", True, False),
        ("bin/run it.sh", False, True),
    ]
    assert found["diffs"][0]["diff"] == "@@ -0,0 +1,2 @@\n+How\n+and why\n"
    parted: Any = project.repository_compare("main", "grow")
    assert {one["new_path"] for one in parted["diffs"]} == {"build.yaml", "late"}
    same: Any = project.repository_compare("main", "main")
    assert (same["commits"], same["diffs"], same["commit"], same["compare_same_ref"]) == ([], [], None, True)
    assert refusal(lambda: project.repository_compare("f" * 40, "main")) == (404, "404 Ref Not Found")


def test_commits_of_a_branch_and_of_a_file_are_listed(site: Site, tokens: dict[str, str]) -> None:
    project = open_project(site, tokens["reporter"])
    assert [one.title for one in project.commits.list(get_all=True)] == ["Say how", "Begin"]
    query = {"ref_name": "grow", "path": "build.yaml"}
    changed = project.commits.list(get_all=True, query_parameters=query)
    assert [one.title for one in changed] == ["Grow", "Begin"]
    assert [one.title for one in project.commits.list(get_all=True, ref_name="v1..main")] == ["Say how"]


def test_a_status_goes_from_pending_to_running_to_its_end(site: Site, tokens: dict[str, str]) -> None:
    project = open_project(site, tokens["developer"])
    commit = project.commits.get("grow")
    fields = {"name": "bessemer/oxygen", "target_url": "https://bessemer.test/oxygen", "description": "begins"}
    made = commit.statuses.create({"state": "pending", **fields})
    assert (made.status, made.ref, made.sha, made.started_at) == ("pending", "grow", commit.id, None)
    assert (made.author["username"], made.allow_failure) == ("developer", False)
    assert project.commits.get("grow").status == "pending"
    running = commit.statuses.create({"state": "running", "name": "bessemer/oxygen", "description": "BootCompute"})
    assert (running.id, running.description, running.target_url) == (made.id, "BootCompute", fields["target_url"])
    done = commit.statuses.create({"state": "success", "context": "bessemer/oxygen", "coverage": 99.5})
    assert (done.id, done.status, done.coverage) == (made.id, "success", 99.5)
    assert done.finished_at is not None
    assert project.commits.get("grow").last_pipeline["source"] == "external"
    assert [one.id for one in commit.statuses.list(get_all=True)] == [made.id]


def test_a_status_can_not_go_back_or_stay(site: Site, tokens: dict[str, str]) -> None:
    commit = open_project(site, tokens["developer"]).commits.get("grow")
    said = 'Cannot transition status via :{0} from :{1} (Reason(s): Status cannot transition via "{0}")'
    commit.statuses.create({"state": "pending", "description": "first"})
    for before, state, step in (
        ("pending", "pending", "enqueue"),
        ("running", "running", "run"),
        ("running", "pending", "enqueue"),
        ("running", "skipped", "skip"),
    ):
        if before == "running" and state == "running":
            commit.statuses.create({"state": "running"})
        answer = refusal(lambda state=state: commit.statuses.create({"state": state, "description": "second"}))
        assert answer == (400, said.format(step, before))
    (kept,) = commit.statuses.list(get_all=True)
    assert (kept.name, kept.status, kept.description) == ("default", "running", "first")


def test_what_is_said_after_the_end_is_a_new_status_that_hides_the_old_one(site: Site, tokens: dict[str, str]) -> None:
    commit = open_project(site, tokens["developer"]).commits.get("grow")
    first = commit.statuses.create({"state": "failed"})
    second = commit.statuses.create({"state": "success"})
    assert second.id != first.id
    assert [one.id for one in commit.statuses.list(get_all=True)] == [second.id]
    assert [one.id for one in commit.statuses.list(all=True, get_all=True)] == [first.id, second.id]
    assert open_project(site, tokens["developer"]).commits.get("grow").status == "success"


def test_jobs_and_what_others_say_are_one_list_and_one_pipeline(site: Site, tokens: dict[str, str]) -> None:
    project = open_project(site, tokens["maintainer"])
    (job,) = site.control.run_jobs("hpc/site", {"name": "check", "stage": "lint"}, ref="grow")
    commit = project.commits.get("grow")
    status = commit.statuses.create({"state": "running", "name": "bessemer"})
    assert status.pipeline_id == project.jobs.get(job).pipeline["id"]
    assert project.jobs.get(job).pipeline["status"] == "running"
    assert {one.name: one.id for one in commit.statuses.list(get_all=True)} == {"check": job, "bessemer": status.id}
    assert [one.name for one in commit.statuses.list(get_all=True, name="bessemer")] == ["bessemer"]
    assert [one.name for one in commit.statuses.list(get_all=True, stage="lint")] == ["check"]
    assert commit.statuses.list(get_all=True, ref="main") == []


def test_who_may_say_something_of_a_commit(site: Site, tokens: dict[str, str]) -> None:
    def report(token: str, branch: str) -> Any:
        statuses = open_project(site, tokens[token]).commits.get(branch, lazy=True).statuses
        return lambda: statuses.create({"state": "success", "ref": branch})

    assert refusal(report("reporter", "grow"))[0] == 403
    assert refusal(report("reading", "grow"))[0] == 403
    assert refusal(report("developer", "main")) == (403, "403 Forbidden")  # a protected branch
    assert (report("maintainer", "main")().ref, report("developer", "grow")().ref) == ("main", "grow")
    guest = open_project(site, tokens["guest"])
    assert refusal(lambda: guest.commits.get("main"))[0] == 403
    assert refusal(lambda: guest.files.get("README.md", "main"))[0] == 403
    files = open_project(site, tokens["files"])
    assert refusal(lambda: files.commits.get("main"))[0] == 403


def test_a_status_is_taken_from_the_query_as_the_documentation_sends_it(site: Site, tokens: dict[str, str]) -> None:
    project = open_project(site, tokens["developer"])
    sha = project.commits.get("grow").id
    for query, body in (("state=success&name=mine", None), ("state=success", {"name": "mine"})):
        answer = requests.post(
            f"{site.url}/api/v4/projects/hpc%2Fsite/statuses/{sha}?{query}",
            json=body,
            headers={"PRIVATE-TOKEN": tokens["developer"]},
            timeout=10,
        )
        assert (answer.status_code, answer.json()["name"]) == (201, "mine")


def test_notes_on_a_merge_request_are_written_changed_and_deleted(site: Site, tokens: dict[str, str]) -> None:
    request = open_project(site, tokens["developer"]).mergerequests.get(1)
    head = open_project(site, tokens["developer"]).commits.get("grow")
    assert (request.title, request.source_branch, request.target_branch) == ("Grow", "grow", "main")
    assert (request.state, request.sha, request.head_pipeline) == ("opened", head.id, None)
    head.statuses.create({"state": "success"})
    note = request.notes.create({"body": "Plan: 4 nodes"})
    assert (note.author["username"], note.noteable_iid, note.noteable_type) == ("developer", 1, "MergeRequest")
    hidden = request.notes.create({"body": "among us", "internal": True})
    assert (note.internal, hidden.internal) == (False, True)
    note.body = "Plan: 8 nodes"
    note.save()
    assert request.notes.get(note.id).body == "Plan: 8 nodes"
    assert [one.id for one in request.notes.list(get_all=True)] == [hidden.id, note.id]
    assert [one.id for one in request.notes.list(get_all=True, sort="asc")] == [note.id, hidden.id]
    again = open_project(site, tokens["developer"]).mergerequests.get(1)
    assert (again.user_notes_count, again.head_pipeline["status"]) == (2, "success")
    hidden.delete()
    assert refusal(lambda: request.notes.get(hidden.id)) == (404, "404 Not found")
    assert refusal(lambda: open_project(site, tokens["developer"]).mergerequests.get(2)) == (404, "404 Not found")


def test_a_note_is_changed_by_its_author_and_who_maintains_the_project(site: Site, tokens: dict[str, str]) -> None:
    def notes(token: str) -> Any:
        return open_project(site, tokens[token]).mergerequests.get(1, lazy=True).notes

    note = notes("reporter").create({"body": "mine"})
    assert refusal(lambda: notes("developer").update(note.id, {"body": "theirs"})) == (403, "403 Forbidden")
    assert refusal(lambda: notes("reading").create({"body": "no right"}))[0] == 403
    assert refusal(lambda: notes("guest").list(get_all=True))[0] == 403
    notes("maintainer").update(note.id, {"body": "tidied"})
    assert notes("reading").get(note.id).body == "tidied"
