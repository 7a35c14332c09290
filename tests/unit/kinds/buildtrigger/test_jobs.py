"""The button: a job asks for a build of its commit, follows it and aborts it; forgers are refused and counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bessemer.api.wellknown import OUTCOME_SEAL_ANNOTATION
from bessemer.gitlab.protocol import GitLabUnavailable
from bessemer.gitlab.reports import Pipeline
from bessemer.kinds.buildtrigger.memory import JOB_CALLS
from bessemer.kinds.buildtrigger.waitingjobs import SILENT_SECONDS
from bessemer.web.app import add_public_routes
from tests.support.issuer import AUDIENCE, make_key
from tests.support.trigger_world import KEY, MAIN, TriggerWorld, build_manifest, open_trigger_world, push_body

RULE: dict[str, Any] = {
    "name": "button",
    "job": {"refs": ["main"], "audience": AUDIENCE, "proofs": ["IdToken", "JobToken"]},
}
PLACE = f"/v1/triggers/{KEY[0]}/{KEY[1]}/job"


@dataclass
class Scene:
    world: TriggerWorld
    client: TestClient[web.Request, web.Application]
    commit: str

    def issue(self, **claims: Any) -> dict[str, str]:
        """Return the headers of a job of the pipeline's commit."""
        return {
            "Authorization": f"Bearer {self.world.issuer.issue(self.world.now(), **({'sha': self.commit} | claims))}"
        }

    async def send(
        self, method: str = "POST", path: str = "", headers: dict[str, str] | None = None, json: Any = None
    ) -> tuple[int, Any]:
        sent = self.issue() if headers is None else headers
        answer = await self.client.request(method, f"{PLACE}{path}", headers=sent, json=json)
        return answer.status, await answer.json()

    async def begin(self, **body: str) -> str:
        status, answer = await self.send(json=body)
        assert (status, answer.get("state")) == (202, "Waiting"), answer
        return str(answer["record"])

    async def show(self, record: str) -> Any:
        status, answer = await self.send("GET", f"/{record}")
        assert status == 200
        return answer

    async def find_reason(self, headers: dict[str, str], status: int = 401, **body: str) -> str:
        found, answer = await self.send(headers=headers, json=body)
        assert found == status, answer
        assert not any(part in str(answer) for value in headers.values() for part in value.split(".") if len(part) > 9)
        assert self.world.records() == {}
        reason = str(answer["reason"])
        assert self.count(reason) == 1
        return reason

    def count(self, outcome: str) -> float | None:
        return self.world.deps.metrics.registry.get_sample_value("bessemer_job_requests_total", {"outcome": outcome})

    def abort_of(self, name: str = "oxygen") -> str | None:
        raw = self.world.build(name)
        assert raw is not None
        found: str | None = raw["metadata"]["annotations"].get("bessemer.dev/abort")
        return found


def forget_outcome(world: TriggerWorld, record: str) -> None:
    """Take what became of an event out of its record, as every user of the namespace can."""
    patch = {"metadata": {"annotations": {OUTCOME_SEAL_ANNOTATION: None}}, "data": {"outcome": None}}
    world.kubernetes.edit("configmaps", KEY[0], record, patch)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with open_trigger_world() as world:
        await world.apply(rules=[RULE])
        await world.settle()
        commit = world.push("one", oxygen=build_manifest(), neon=build_manifest("neon"))
        world.repository.jobs[302] = "running"
        app = web.Application()
        add_public_routes(app, world.kind.routes.public, world.deps.metrics)
        async with TestClient(TestServer(app)) as client:
            yield Scene(world, client, commit)


async def test_a_job_gets_a_build_of_its_own_commit(scene: Scene) -> None:
    record = await scene.begin(cluster="oxygen")
    scene.world.push("two", oxygen=build_manifest())  # the branch has moved on: the job builds its own commit
    await scene.world.settle()
    assert scene.world.commit_of() == scene.commit
    assert scene.world.build("neon") is None
    answer = await scene.show(record)
    assert (answer["state"], [build["name"] for build in answer["builds"]]) == ("Building", ["oxygen"])
    scene.world.end_build()
    await scene.world.settle()
    answer = await scene.show(record)
    assert (answer["state"], answer["final"], answer["builds"][0]["ready"]) == ("Succeeded", True, True)


async def test_a_job_without_a_choice_gets_all_clusters(scene: Scene) -> None:
    await scene.begin()
    await scene.world.settle()
    assert scene.world.commit_of() == scene.world.commit_of("neon") == scene.commit


async def test_a_cluster_that_the_repository_does_not_have_is_refused_with_those_that_it_has(scene: Scene) -> None:
    record = await scene.begin(cluster="argon", manifest="clusters/argon.yaml")
    await scene.world.settle()
    answer = await scene.show(record)
    assert (answer["state"], answer["reason"], answer["final"]) == ("Refused", "ClusterNotFound", True)
    assert "oxygen of clusters/oxygen.yaml" in answer["message"]


async def test_a_job_that_asks_twice_has_one_build(scene: Scene) -> None:
    first = await scene.begin(cluster="oxygen")
    await scene.world.settle()
    scene.world.repository.calls.clear()
    status, answer = await scene.send(json={"cluster": "oxygen"})
    assert (status, answer["record"]) == (202, first)
    assert len(scene.world.records()) == 1
    assert "get_job" not in scene.world.repository.calls


async def test_another_press_of_the_button_builds_again(scene: Scene) -> None:
    await scene.begin(cluster="oxygen")
    await scene.world.settle()
    scene.world.end_build(ready=False)
    await scene.world.settle()
    scene.world.repository.jobs[303] = "running"
    status, _ = await scene.send(headers=scene.issue(job_id="303"), json={"cluster": "oxygen"})
    assert status == 202
    await scene.world.settle()
    assert [state for state, _ in scene.world.states()] == ["Failed", "Building"]


async def test_a_job_token_is_as_good_where_a_rule_takes_it(scene: Scene) -> None:
    scene.world.issuer.start_job("glcbt-64_one", pipeline={"id": 574, "project_id": 20, "sha": scene.commit})
    status, _ = await scene.send(headers={"JOB-TOKEN": "glcbt-64_one"}, json={"cluster": "oxygen"})
    assert status == 202
    await scene.world.settle()
    assert scene.world.commit_of() == scene.commit


async def test_a_job_token_does_not_show_whether_the_ref_is_protected_and_gitlab_is_asked(scene: Scene) -> None:
    scene.world.repository.unprotected.add(MAIN)
    scene.world.issuer.start_job("glcbt-64_one", pipeline={"id": 574, "project_id": 20, "sha": scene.commit})
    await scene.send(headers={"JOB-TOKEN": "glcbt-64_one"}, json={"cluster": "oxygen"})
    await scene.world.settle()
    assert scene.world.states() == [("Skipped", "RefNotProtected")]
    assert scene.world.build() is None


@pytest.mark.parametrize("tag", [False, True])
async def test_a_job_token_of_a_ref_that_was_deleted_since_builds_nothing(scene: Scene, tag: bool) -> None:
    """Whether it was protected can't be asked any more; and a tag may have the name of a branch."""
    pipeline = {"id": 574, "project_id": 20, "sha": scene.commit}
    scene.world.issuer.start_job("glcbt-64_one", pipeline=pipeline, tag=tag)
    scene.world.repository.job_refs[302] = "refs/tags/main" if tag else MAIN
    scene.world.repository.heads.pop(MAIN)
    await scene.send(headers={"JOB-TOKEN": "glcbt-64_one"}, json={"cluster": "oxygen"})
    await scene.world.settle()
    assert scene.world.states() == [("Superseded", "Superseded")]
    assert scene.world.build() is None


async def test_a_build_that_was_begun_is_followed_though_its_ref_is_gone_and_the_operator_was_restarted(
    scene: Scene,
) -> None:
    record = await scene.begin(cluster="oxygen")
    await scene.world.settle()
    forget_outcome(scene.world, record)  # the operator died before it wrote that it had begun
    scene.world.repository.heads.pop(MAIN)
    await scene.world.restart_operator()
    await scene.world.settle()
    assert scene.world.states() == [("Building", "Applied")]
    scene.world.end_build()
    await scene.world.settle()
    assert [state for state, _ in scene.world.states()] == ["Succeeded"]


async def test_a_record_that_a_user_of_the_namespace_has_reset_does_not_bring_back_an_old_commit(scene: Scene) -> None:
    record = await scene.begin(cluster="oxygen")
    await scene.world.settle()
    scene.world.end_build()
    await scene.world.settle()
    scene.world.repository.jobs[302] = "success"
    new = scene.world.push("two", oxygen=build_manifest(onDelete="PowerOff"))
    await scene.world.take(push_body(new))
    scene.world.repository.jobs[303] = "running"
    await scene.send(headers=scene.issue(job_id="303", sha=new), json={"cluster": "oxygen"})
    await scene.world.settle()
    scene.world.end_build()
    scene.world.pass_time(SILENT_SECONDS)
    await scene.world.settle()
    forget_outcome(scene.world, record)
    await scene.world.settle()
    assert scene.world.commit_of() == new


async def test_a_job_of_a_merge_requests_child_pipeline_is_not_taken_for_one_of_the_source_branch(scene: Scene) -> None:
    scene.world.repository.job_refs[302] = "refs/merge-requests/7/head"
    assert await scene.find_reason(scene.issue(pipeline_source="parent_pipeline")) == "WrongPipeline"


async def test_no_job_token_is_asked_about_where_no_rule_takes_it(scene: Scene) -> None:
    await scene.world.apply(rules=[RULE | {"job": RULE["job"] | {"proofs": ["IdToken"]}}])
    await scene.world.settle()
    assert await scene.find_reason({"JOB-TOKEN": "glcbt-64_one"}) == "ProofNotAccepted"
    assert scene.world.issuer.requests == []


@pytest.mark.parametrize(
    ("claims", "status", "reason"),
    [
        ({"project_id": "21"}, 403, "OtherProject"),
        ({"ref_protected": "false"}, 403, "RefNotProtected"),
        ({"ref": "feature"}, 403, "NoRule"),
        ({"ref_type": "tag", "ref": "v1"}, 403, "NoRule"),
        ({"aud": "https://vault.example.org"}, 401, "WrongAudience"),
        ({"iss": "https://gitlab.com"}, 401, "WrongIssuer"),
        ({"exp": 1}, 401, "TokenExpired"),
        ({"ref_type": "merge_request"}, 401, "WrongPipeline"),
    ],
)
async def test_a_token_that_proves_something_else_is_refused_and_counted(
    scene: Scene, claims: dict[str, Any], status: int, reason: str
) -> None:
    assert await scene.find_reason(scene.issue(**claims), status) == reason


@pytest.mark.parametrize(
    "job",
    [
        {"ref": "refs/merge-requests/7/head"},
        {"pipeline": {"id": 574, "project_id": 20, "sha": "a" * 40, "source": "merge_request_event"}},
    ],
)
async def test_the_job_token_of_a_merge_requests_pipeline_is_refused(scene: Scene, job: dict[str, Any]) -> None:
    """GitLab names the source branch there, which may be that of a fork."""
    scene.world.issuer.start_job("glcbt-64_one", **job)
    assert await scene.find_reason({"JOB-TOKEN": "glcbt-64_one"}) == "WrongPipeline"


async def test_a_job_needs_the_environment_of_the_rule(scene: Scene) -> None:
    await scene.world.apply(rules=[RULE | {"job": RULE["job"] | {"environments": ["lab-*"]}}])
    await scene.world.settle()
    assert await scene.find_reason(scene.issue(environment="oxygen"), 403) == "WrongEnvironment"
    status, _ = await scene.send(headers=scene.issue(environment="lab-oxygen"), json={"cluster": "oxygen"})
    assert status == 202


@pytest.mark.parametrize(
    "name", ["oxygen ", " oxygen", "oxygen\x1b[0m", "\x1b[1moxygen", "Oxygen", "oxygen/", "oxygen\n"]
)
async def test_an_environment_that_only_looks_like_that_of_the_rule_is_another_one(scene: Scene, name: str) -> None:
    await scene.world.apply(rules=[RULE | {"job": RULE["job"] | {"environments": ["oxygen"]}}])
    assert await scene.find_reason(scene.issue(environment=name), 403) == "WrongEnvironment"


async def test_a_forged_signature_is_refused_and_counted(scene: Scene) -> None:
    assert await scene.find_reason(scene.issue(key=make_key("one", "forger"))) == "BadSignature"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "NoProof"),
        ({"Authorization": "Basic YWxsOm1l"}, "NoProof"),
        ({"Authorization": "Bearer a.b.c"}, "TokenBroken"),
        ({"Authorization": f"Bearer {'x' * 8100}"}, "TokenBroken"),
        ({"JOB-TOKEN": "glcbt-64_forged"}, "UnknownToken"),
        ({"PRIVATE-TOKEN": "glpat-secret"}, "NoProof"),
    ],
)
async def test_who_is_no_job_is_refused_and_counted(scene: Scene, headers: dict[str, str], reason: str) -> None:
    assert await scene.find_reason(headers) == reason


async def test_a_token_that_is_replayed_after_its_job_has_ended_builds_nothing(scene: Scene) -> None:
    scene.world.repository.jobs[302] = "success"
    assert await scene.find_reason(scene.issue()) == "JobNotRunning"


async def test_no_token_is_sent_to_a_gitlab_whose_certificate_can_not_be_verified_as_wanted(scene: Scene) -> None:
    raw = scene.world.kubernetes.objects["buildtriggers", *KEY]["spec"]["gitlab"]
    await scene.world.apply(rules=[RULE], gitlab=raw | {"caSecret": {"name": "missing"}})
    await scene.world.settle()
    assert await scene.find_reason({"JOB-TOKEN": "glcbt-64_one"}, 503) == "SecretMissing"
    assert scene.world.issuer.requests == []


async def test_gitlab_that_does_not_answer_refuses_no_job_for_good(scene: Scene) -> None:
    scene.world.repository.error = GitLabUnavailable("no answer")
    assert await scene.find_reason(scene.issue(), 503) == "GitLabUnavailable"


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b'{"cluster": 7}', b'{"a":' * 900, b'{"cluster": "' + b"x" * 300 + b'"}']
)
async def test_a_body_that_is_no_request_is_refused(scene: Scene, body: bytes) -> None:
    answer = await scene.client.post(PLACE, headers=scene.issue(), data=body)
    assert answer.status in (400, 413)
    assert scene.world.records() == {}


async def test_a_body_of_a_stranger_is_not_read(scene: Scene) -> None:
    answer = await scene.client.post(PLACE, data=b"x" * 100_000)
    assert answer.status == 401


async def test_a_trigger_without_a_rule_for_jobs_is_unknown(scene: Scene) -> None:
    await scene.world.apply(rules=[{"name": "tags", "tag": {"tags": ["v*"]}}])
    await scene.world.settle()
    assert await scene.find_reason(scene.issue(), 404) == "UnknownTrigger"


async def test_another_pipeline_neither_sees_nor_aborts_a_build(scene: Scene) -> None:
    record = await scene.begin(cluster="oxygen")
    await scene.world.settle()
    for method in ("GET", "DELETE"):
        status, answer = await scene.send(method, f"/{record}", scene.issue(pipeline_id="575"))
        assert (status, answer["reason"]) == (404, "UnknownRecord")
    await scene.world.settle()
    assert scene.abort_of() is None


@pytest.mark.parametrize("name", ["other", "..%2f..", "x" * 300, "site-event-0"])
async def test_only_records_of_jobs_are_shown(scene: Scene, name: str) -> None:
    status, answer = await scene.send("GET", f"/{name}")
    assert (status, answer["reason"]) == (404, "UnknownRecord")


async def test_a_job_that_is_cancelled_aborts_its_build_and_another_push_of_the_button_resumes(scene: Scene) -> None:
    record = await scene.begin(cluster="oxygen")
    await scene.world.settle()
    status, answer = await scene.send("DELETE", f"/{record}")
    assert (status, answer["unwanted"]) == (202, True)
    await scene.world.settle()
    assert scene.abort_of() == f"unwanted-by-{record}"
    scene.world.end_build(ready=False, reason="Aborted")
    await scene.world.settle()
    assert scene.world.states() == [("Failed", "Aborted")]
    scene.world.repository.jobs[303] = "running"
    await scene.send(headers=scene.issue(job_id="303"), json={"cluster": "oxygen"})
    await scene.world.settle(8)
    assert scene.abort_of() is None
    assert scene.world.states()[-1] == ("Building", "Applied")


async def test_a_job_that_is_cancelled_before_its_build_has_begun_gets_none(scene: Scene) -> None:
    record = await scene.begin(cluster="oxygen")
    await scene.send("DELETE", f"/{record}")
    await scene.world.settle()
    assert scene.world.states() == [("Skipped", "JobAborted")]
    assert scene.world.build() is None


async def test_a_build_whose_job_is_over_is_aborted_though_the_job_did_not_say_so(scene: Scene) -> None:
    record = await scene.begin(cluster="oxygen")
    await scene.world.settle()
    scene.world.repository.jobs[302] = "canceled"
    scene.world.pass_time(SILENT_SECONDS)
    await scene.world.settle()
    assert scene.abort_of() == f"unwanted-by-{record}"


async def test_a_silent_job_that_runs_keeps_its_build(scene: Scene) -> None:
    await scene.begin(cluster="oxygen")
    await scene.world.settle()
    scene.world.repository.calls.clear()
    for _ in range(3):
        scene.world.pass_time(SILENT_SECONDS)
        await scene.world.settle()
    assert scene.world.repository.calls.count("get_job") == 3
    assert scene.abort_of() is None


async def test_a_job_that_is_heard_of_causes_no_questions(scene: Scene) -> None:
    record = await scene.begin(cluster="oxygen")
    await scene.world.settle()
    scene.world.repository.calls.clear()
    for _ in range(4):
        scene.world.pass_time(SILENT_SECONDS / 2)
        await scene.show(record)
        await scene.world.settle()
    assert "get_job" not in scene.world.repository.calls


async def test_a_question_that_can_not_be_asked_now_causes_no_passes_without_a_pause(scene: Scene) -> None:
    await scene.begin(cluster="oxygen")
    await scene.world.settle()
    scene.world.repository.error = GitLabUnavailable("no answer")
    scene.world.pass_time(SILENT_SECONDS)
    await scene.world.settle()
    pause = await scene.world.step()
    assert pause is not None
    assert pause > 1


@pytest.mark.parametrize("answer", ["unavailable", "unknown"])
async def test_gitlab_that_does_not_say_that_a_job_is_over_aborts_nothing(scene: Scene, answer: str) -> None:
    await scene.begin(cluster="oxygen")
    await scene.world.settle()
    scene.world.repository.jobs.clear()
    scene.world.repository.error = GitLabUnavailable("no answer") if answer == "unavailable" else None
    scene.world.pass_time(SILENT_SECONDS * 3)
    await scene.world.settle()
    assert scene.abort_of() is None


async def test_the_operator_that_was_restarted_knows_what_a_job_has_aborted(scene: Scene) -> None:
    record = await scene.begin(cluster="oxygen")
    await scene.world.settle()
    await scene.send("DELETE", f"/{record}")
    await scene.world.restart_operator()
    await scene.world.settle()
    assert scene.abort_of() == f"unwanted-by-{record}"


async def test_a_user_of_the_namespace_can_not_forge_that_a_job_has_aborted(scene: Scene) -> None:
    record = await scene.begin(cluster="oxygen")
    await scene.world.settle()
    patch = {"metadata": {"annotations": {"bessemer.dev/unwanted": "0" * 64}}}
    scene.world.kubernetes.edit("configmaps", KEY[0], record, patch)
    await scene.world.settle()
    assert scene.abort_of() is None


MR = "refs/merge-requests/7/head"
FOR_REQUESTS = {"refs": ["main"], "mergeRequests": True, "audience": AUDIENCE, "proofs": ["IdToken", "JobToken"]}


async def open_request(scene: Scene, job_ref: str = MR, **about: Any) -> dict[str, str]:
    """Open a merge request from a protected branch with a pipeline; return what its job proves itself with."""
    world = scene.world
    await world.apply(rules=[{"name": "button", "job": FOR_REQUESTS | about.pop("job", {})}])
    await world.settle()
    scene.commit = world.push("request", MR, oxygen=build_manifest())
    world.repository.merge_requests[MR] = {"target": "main"} | about
    world.repository.job_refs[302] = job_ref
    return scene.issue(ref="feature", pipeline_source="merge_request_event", ref_protected="true")


async def test_a_job_of_a_merge_requests_pipeline_gets_a_build_where_a_rule_is_for_it(scene: Scene) -> None:
    headers = await open_request(scene)
    status, answer = await scene.send(headers=headers, json={"cluster": "oxygen"})
    assert (status, answer["commit"]) == (202, scene.commit)
    await scene.world.settle()
    assert scene.world.commit_of() == scene.commit
    assert scene.world.status()["events"][0]["ref"] == MR
    status, answer = await scene.send("GET", f"/{answer['record']}", headers=headers)
    assert (status, answer["state"]) == (200, "Building")


async def test_a_job_token_of_a_merge_requests_pipeline_is_as_good(scene: Scene) -> None:
    await open_request(scene)
    pipeline = {"id": 574, "project_id": 20, "sha": scene.commit, "source": "merge_request_event"}
    scene.world.issuer.start_job("glcbt-64_one", ref=MR, pipeline=pipeline)
    status, _ = await scene.send(headers={"JOB-TOKEN": "glcbt-64_one"}, json={"cluster": "oxygen"})
    assert status == 202


@pytest.mark.parametrize(
    ("about", "status", "reason"),
    [
        ({"fork": True}, 403, "FromFork"),
        ({"target": "other"}, 403, "NoRule"),
        ({"closed": True}, 403, "NotLatest"),
        ({"job_ref": "refs/merge-requests/7/merge"}, 403, "WrongPipeline"),
        ({"job_ref": MAIN}, 403, "WrongPipeline"),
        ({"job": {"mergeRequests": False}}, 401, "WrongPipeline"),
    ],
)
async def test_other_jobs_of_merge_requests_get_no_build(
    scene: Scene, about: dict[str, Any], status: int, reason: str
) -> None:
    assert await scene.find_reason(await open_request(scene, **about), status) == reason


async def test_a_merge_request_from_an_unprotected_branch_needs_a_rule_that_says_so(scene: Scene) -> None:
    scene.world.repository.unprotected.add(MR)
    assert await scene.find_reason(await open_request(scene), 403) == "RefNotProtected"
    status, _ = await scene.send(headers=await open_request(scene, job={"protectedOnly": False}), json={})
    assert status == 202


async def test_a_job_of_an_earlier_commit_of_a_merge_request_gets_no_build(scene: Scene) -> None:
    headers = await open_request(scene)
    scene.world.push("later", MR, oxygen=build_manifest())
    assert await scene.find_reason(headers, 403) == "NotLatest"


async def test_a_merge_request_that_turns_out_to_be_a_forks_is_not_built(scene: Scene) -> None:
    """GitLab is asked again when the build begins."""
    status, _ = await scene.send(headers=await open_request(scene), json={"cluster": "oxygen"})
    assert status == 202
    scene.world.repository.merge_requests[MR]["fork"] = True
    await scene.world.settle()
    assert (scene.world.build(), scene.world.states()) == (None, [("Skipped", "FromFork")])


async def test_a_job_that_asks_without_a_pause_costs_the_api_server_a_bounded_number_of_requests(scene: Scene) -> None:
    """For builds of others, too: whether there is one is asked of the API server."""
    scene.world.kubernetes.calls.clear()
    statuses = [(await scene.send("GET", f"/site-event-{number}"))[0] for number in range(2 * JOB_CALLS)]
    assert statuses == [404] * JOB_CALLS + [429] * JOB_CALLS
    assert len(scene.world.kubernetes.calls) <= JOB_CALLS
    _, answer = await scene.send("POST", headers=scene.issue(job_id="303"))  # another job is not held up
    assert answer["reason"] == "JobNotRunning"
    scene.world.pass_time(1)
    assert [(await scene.send("GET", "/x"))[0] for _ in range(3)] == [404, 404, 429]


async def test_of_very_many_jobs_only_the_latest_are_remembered(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bessemer.kinds.buildtrigger.job.caller.MOST_JOBS", 2)
    for job in (302, 303, 302, 304):
        await scene.send("GET", "/x", headers=scene.issue(job_id=str(job)))
    memory = scene.world.kind.deps.memories.find(KEY)
    assert memory is not None
    assert list(memory.job_calls) == [302, 304]


async def test_the_statuses_of_a_jobs_build_are_in_the_jobs_pipeline_though_there_is_a_later_one(scene: Scene) -> None:
    """jenkinsci/gitlab-plugin#1780: they go to whichever pipeline of the commit GitLab chooses."""
    world, reports = scene.world, scene.world.reports
    reports.commits.add(scene.commit)
    for number in (574, 580):
        reports.pipelines[number] = Pipeline(number, scene.commit, "main")
    await scene.begin(cluster="oxygen")
    await world.settle()
    world.end_build()
    await world.settle()
    assert {row.pipeline for row in reports.rows[scene.commit]} == {574}
