"""Whatever is answered to what triggers ask, in any place of any answer: a value, or an error of Bessemer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.api.references import ScopeType
from bessemer.errors import BessemerError
from bessemer.gitlab.hookclient import HookLogClient
from bessemer.gitlab.jobproofs import ProofClient
from bessemer.gitlab.protocol import Scope
from bessemer.gitlab.reporter import ReportClient
from bessemer.gitlab.reports import NewDeployment, NewStatus, State, Target
from bessemer.gitlab.repository import RepositoryClient
from tests.support.examples import examples
from tests.support.issuer import AUDIENCE, Issuer
from tests.unit.gitlab.test_any_answer import JSON, TIME, Scripted, list_places, replace_at

COMMIT, NOW = "0" * 39 + "1", datetime(2026, 3, 2, tzinfo=UTC)
PROJECT, HOOK = "hpc/sim", "/v1/triggers/lab/site"
BRANCH = {"name": "main", "protected": True, "commit": {"id": COMMIT, "message": "a change"}}
REQUEST = {
    "iid": 7, "sha": COMMIT, "state": "opened", "draft": False, "source_branch": "main", "target_branch": "main",
    "source_project_id": 12, "target_project_id": 12, "merge_commit_sha": None,
    "head_pipeline": {"id": 3, "sha": COMMIT, "ref": "main"},
}  # fmt: skip
NOTE = {
    "id": 5, "body": "marker and more", "author": {"id": 9}, "system": False, "resolvable": True, "resolved": False,
    "created_at": "2026-03-01T00:00:00Z",
}  # fmt: skip
STATUS = {"name": "bessemer/site", "status": "running", "pipeline_id": 3}
JOB = {
    "id": 302, "status": "running", "ref": "main", "tag": False, "user": {"username": "ada"},
    "pipeline": {"id": 574, "project_id": 12, "sha": COMMIT, "source": "push"},
}  # fmt: skip
DELIVERY = {
    "id": 4, "request_headers": {"Idempotency-Key": "k"}, "request_data": {"object_kind": "push"},
    "response_status": "200", "created_at": TIME,
}  # fmt: skip
ISSUER = Issuer()
ANSWERS: Mapping[str, Any] = {
    "/repository/branches": [BRANCH],
    "/repository/branches/main": BRANCH,
    "/repository/tags": [BRANCH],
    "/repository/tree": [{"type": "blob", "path": "a.yaml"}],
    "/repository/files/a.yaml": {"content": "YQ=="},
    "/repository/compare": {"diffs": [{"old_path": "a", "new_path": "b"}], "compare_timeout": False},
    f"/repository/commits/{COMMIT}": {"id": COMMIT, "message": "a change"},
    f"/commits/{COMMIT}/statuses": [STATUS],
    f"/statuses/{COMMIT}": STATUS,
    f"/commits/{COMMIT}/merge_requests": [REQUEST],
    "/merge_requests/7": REQUEST,
    "/discussions": [{"id": "d", "notes": [NOTE]}],
    "/notes": NOTE,
    "/notes/5": NOTE,
    "/versions": [{"id": 1, "head_commit_sha": COMMIT, "created_at": "2026-03-01T00:00:00Z"}],
    "/deployments": [{"id": 6, "status": "running", "sha": COMMIT, "user": {"id": 9}}],
    "/members/all/9": {"id": 9, "access_level": 40},
    "/user": {"id": 9},
    "/self": {"id": 1, "expires_at": "2026-03-09"},
    "/hooks": [{"id": 4, "url": f"https://bessemer.example{HOOK}", "alert_status": "executable"}],
    "/events": [DELIVERY],
    "/jobs/302": JOB,
    "/job": JOB,
    "/projects/hpc%2Fsim": {"id": 12},
    "/projects/12": {"id": 12, "path_with_namespace": PROJECT},
    "/groups/hpc/projects": [{"id": 12, "path_with_namespace": PROJECT}],
    "/openid-configuration": {"issuer": ISSUER.name, "jwks_uri": f"{ISSUER.name}/oauth/discovery/keys"},
    "/oauth/discovery/keys": ISSUER.publish(),
}
SCOPE = Scope(ScopeType.PROJECT, PROJECT)
TARGET = Target(PROJECT, COMMIT, "main", 3)
Call = Callable[[Any], Coroutine[Any, Any, object]]
CALLS: dict[str, Call] = {
    "head": lambda to: RepositoryClient(to).get_head(PROJECT, "refs/heads/main"),
    "request": lambda to: RepositoryClient(to).get_head(PROJECT, "refs/merge-requests/7/head"),
    "heads": lambda to: RepositoryClient(to).list_heads(PROJECT),
    "files": lambda to: RepositoryClient(to).list_files(PROJECT, "", COMMIT),
    "file": lambda to: RepositoryClient(to).get_file(PROJECT, "a.yaml", COMMIT),
    "compare": lambda to: RepositoryClient(to).compare(PROJECT, COMMIT, COMMIT),
    "comment": lambda to: RepositoryClient(to).get_comment(PROJECT, "refs/merge-requests/7/head", 5),
    "level": lambda to: RepositoryClient(to).get_access_level(PROJECT, 9),
    "job": lambda to: RepositoryClient(to).get_job(PROJECT, 302),
    "project": lambda to: RepositoryClient(to).get_project_id(PROJECT),
    "path": lambda to: RepositoryClient(to).get_project_path(12),
    "projects": lambda to: RepositoryClient(to).list_projects("hpc"),
    "expiry": lambda to: RepositoryClient(to).get_expiry(),
    "statuses": lambda to: ReportClient(to).list_statuses(TARGET, "bessemer/"),
    "status": lambda to: ReportClient(to).set_status(TARGET, NewStatus("bessemer/site", State.RUNNING)),
    "requests": lambda to: ReportClient(to).list_merge_requests(PROJECT, COMMIT),
    "note": lambda to: ReportClient(to).find_note(PROJECT, 7, "marker"),
    "write": lambda to: ReportClient(to).create_note(PROJECT, 7, "text", discussion=False),
    "deployment": lambda to: ReportClient(to).find_deployment(PROJECT, "e", COMMIT),
    "deploy": lambda to: ReportClient(to).create_deployment(PROJECT, NewDeployment("e", COMMIT, "main", tag=False)),
    "hooks": lambda to: HookLogClient(to).list_hooks(SCOPE, HOOK),
    "deliveries": lambda to: HookLogClient(to).list_deliveries(SCOPE, 4, NOW),
    "job token": lambda to: ProofClient(to).prove_job_token("glcbt-64_one"),
    "id token": lambda to: ProofClient(to).prove_id_token(ISSUER.issue(NOW), AUDIENCE, NOW),
}
GOOD = frozenset(CALLS) - {"deploy"}
"""Calls for which the answers above are right."""


class AnyTransport(Scripted):
    """Answers what is published, and what jobs ask, in the same way."""

    async def fetch_public(self, path: str) -> Any:
        return await self.fetch("GET", path)

    async def fetch_as_job(self, path: str, job_token: str) -> Any:  # noqa: ARG002
        return await self.fetch("GET", path)


@pytest.mark.parametrize("call", sorted(GOOD))
def test_good_answers_are_read(call: str) -> None:
    assert asyncio.run(CALLS[call](AnyTransport(ANSWERS))) is not None


@pytest.mark.parametrize("call", CALLS)
@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_any_answer_is_read_or_is_an_error_of_bessemer(call: str, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(ANSWERS)))
    place = data.draw(st.sampled_from(list_places(ANSWERS[path])))
    answers = {**ANSWERS, path: replace_at(ANSWERS[path], place, data.draw(JSON))}
    said = ""
    try:
        asyncio.run(CALLS[call](AnyTransport(answers)))
    except BessemerError as error:
        said = error.message
    assert said.isprintable()
    assert len(said) < 500
    assert "secret" not in said
