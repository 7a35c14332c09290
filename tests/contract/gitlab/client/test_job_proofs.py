"""Jobs of the simulator prove to the operator's client who they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

import gitlab
from bessemer.gitlab.client import GitLabConnector
from bessemer.gitlab.idtoken import ProofRefused
from bessemer.gitlab.jobidentity import OVER, RUNNING, ProofKind
from bessemer.gitlab.jobproofs import ProofClient
from bessemer.gitlab.protocol import Job
from bessemer.gitlab.repository import RepositoryClient
from bessemer.kinds.buildtrigger.job.request import confirm_merge_request
from tests.contract.gitlab.conftest import Site
from tests.contract.gitlab.simulator.test_deployments import finish_job, start_job

AUDIENCE = "https://bessemer.test"
PROJECT = "hpc/site"


@dataclass
class Scene:
    site: Site
    admin: str
    client: ProofClient
    repository: RepositoryClient

    def start(self, **job: Any) -> dict[str, Any]:
        """Start a job; return what its runner gets."""
        return start_job(self.site, self.admin, id_tokens={"BESSEMER": {"aud": AUDIENCE}}, **job)


@pytest.fixture
async def scene(site: Site) -> AsyncIterator[Scene]:
    admin = site.control.seed(
        projects=[
            {
                "path": PROJECT,
                "commits": [
                    {"files": {"build.yaml": "x\n"}},
                    {"branch": "feature", "files": {"build.yaml": "y\n"}},
                ],
                "merge_requests": [{"source_branch": "feature"}],
            }
        ],
        users=[{"username": "developer", "access": {"hpc": 30}}, {"username": "admin", "admin": True}],
        tokens=[{"user": "admin", "name": "admin"}],
    )["admin"]
    connector = GitLabConnector()
    client = ProofClient(connector.open_transport(site.url, None, None))
    repository = RepositoryClient(connector.open_transport(site.url, admin, None))
    yield Scene(site, admin, client, repository)
    await client.close()
    await repository.close()


def get_variable(job: dict[str, Any], name: str) -> str:
    return next(str(one["value"]) for one in job["variables"] if one["key"] == name)


async def prove(scene: Scene, token: str, audience: str = AUDIENCE) -> Any:
    return await scene.client.prove_id_token(token, audience, datetime.now(UTC))


async def test_a_job_is_known_by_its_id_token(scene: Scene) -> None:
    job = scene.start(environment={"name": "oxygen"})
    found = await prove(scene, get_variable(job, "BESSEMER"))
    assert (found.proof, found.ref, found.protected) == (ProofKind.ID_TOKEN, "refs/heads/main", True)
    assert (found.environment, found.user, found.job_id) == ("oxygen", "developer", job["id"])
    assert found.commit == get_variable(job, "CI_COMMIT_SHA")
    assert found.project_id == await scene.repository.get_project_id(PROJECT)
    assert str(found.pipeline_id) == get_variable(job, "CI_PIPELINE_ID")


async def test_a_job_is_known_by_its_job_token_as_by_its_id_token(scene: Scene) -> None:
    job = scene.start()
    one = await prove(scene, get_variable(job, "BESSEMER"))
    other = await scene.client.prove_job_token(job["token"])
    for name in ("project_id", "pipeline_id", "job_id", "ref", "commit", "user"):
        assert getattr(one, name) == getattr(other, name), name
    assert (other.proof, other.protected, other.environment) == (ProofKind.JOB_TOKEN, None, None)


async def test_a_job_token_ends_with_its_job_and_an_id_token_does_not(scene: Scene) -> None:
    job = scene.start()
    assert await scene.repository.get_job(PROJECT, job["id"]) == Job(RUNNING, "refs/heads/main")
    finish_job(scene.site, job)
    found = await scene.repository.get_job(PROJECT, job["id"])
    assert found is not None
    assert found.state in OVER
    with pytest.raises(ProofRefused):
        await scene.client.prove_job_token(job["token"])
    assert (await prove(scene, get_variable(job, "BESSEMER"))).job_id == job["id"]


async def test_an_unknown_job_has_no_state(scene: Scene) -> None:
    assert await scene.repository.get_job(PROJECT, 999_999) is None


async def test_tokens_for_others_and_of_others_are_refused(scene: Scene) -> None:
    token = get_variable(scene.start(), "BESSEMER")
    with pytest.raises(ProofRefused, match="WrongAudience"):
        await prove(scene, token, "https://other.test")
    with pytest.raises(ProofRefused, match="WrongIssuer"):
        await prove(scene, scene.site.control.sign(iss="https://other.test", aud=AUDIENCE, exp=2**32))
    with pytest.raises(ProofRefused, match="TokenExpired"):
        await prove(scene, scene.site.control.sign(iss=scene.site.url, aud=AUDIENCE, exp=1))
    with pytest.raises(ProofRefused, match="UnknownToken"):
        await scene.client.prove_job_token(scene.admin)


async def test_a_job_that_is_being_cancelled_can_say_so(scene: Scene) -> None:
    scene.site.control.run_jobs(PROJECT, {}, user="developer")
    runner = scene.site.control.create_runner(scene.admin, runner_type="instance_type")
    info = {"features": {"cancel_gracefully": True}}
    answer: Any = gitlab.Gitlab(scene.site.url).http_post(
        "/jobs/request", post_data={"token": runner["token"], "info": info}
    )
    scene.site.control.cancel_job(scene.admin, answer["id"])
    assert await scene.repository.get_job(PROJECT, answer["id"]) == Job("canceling", "refs/heads/main")
    assert (await scene.client.prove_job_token(answer["token"])).job_id == answer["id"]


async def test_what_a_job_of_a_merge_requests_pipeline_is_for_is_said_by_gitlab_alone(scene: Scene) -> None:
    job = {"id_tokens": {"BESSEMER": {"aud": AUDIENCE}}}
    scene.site.control.run_jobs(PROJECT, job, user="developer", merge_request=f"{PROJECT}!1")
    runner = scene.site.control.create_runner(scene.admin, runner_type="instance_type")
    answer: Any = gitlab.Gitlab(scene.site.url).http_post("/jobs/request", post_data={"token": runner["token"]})
    by_id = await prove(scene, get_variable(answer, "BESSEMER"))
    by_token = await scene.client.prove_job_token(answer["token"])
    assert {(one.merge_request, one.ref, one.protected) for one in (by_id, by_token)} == {(True, "", None)}
    found = await scene.repository.get_job(PROJECT, answer["id"])
    assert found == Job(RUNNING, "refs/merge-requests/1/head")
    head = await scene.repository.get_head(PROJECT, found.ref)
    assert head is not None
    assert (head.commit, head.target, head.fork) == (by_id.commit, "main", False)
    confirmed = confirm_merge_request(by_id, found.ref, head)
    assert (confirmed.ref, confirmed.target, confirmed.protected) == (found.ref, "main", head.protected)
