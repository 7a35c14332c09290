"""Proofs of jobs, asked of a GitLab on the loopback: keys are kept, and read again at a limited rate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from yarl import URL

from bessemer.gitlab.answers import Answer, LargeAnswers
from bessemer.gitlab.credentials import build_context
from bessemer.gitlab.idtoken import ProofRefused
from bessemer.gitlab.jobidentity import JobIdentity, ProofKind, read_claims
from bessemer.gitlab.jobproofs import BURST, DISCOVERY, FRESH_SECONDS, PAUSE_SECONDS, ProofClient
from bessemer.gitlab.protocol import GitLabUnavailable, RateLimited
from bessemer.gitlab.transport import Transport
from tests.support.issuer import AUDIENCE, CLAIMS, COMMIT, Issuer, make_key, serve_issuer

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
JOB = JobIdentity(ProofKind.ID_TOKEN, 20, 574, 302, "refs/heads/main", COMMIT, True, "oxygen", "sample")
Connect = Callable[[str], ProofClient]


@dataclass
class Scene:
    issuer: Issuer
    client: ProofClient
    passed: list[float] = field(default_factory=lambda: [0.0])

    async def prove(self, token: str) -> JobIdentity:
        return await self.client.prove_id_token(token, AUDIENCE, NOW)

    async def find_reason(self, token: str) -> str:
        with pytest.raises(ProofRefused) as refused:
            await self.prove(token)
        return refused.value.reason


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    issuer, passed = Issuer(), [1000.0]
    async with serve_issuer(issuer) as url:
        client = ProofClient(
            Transport(URL(url), "glpat-secret", build_context(None), LargeAnswers()), lambda: passed[0]
        )
        yield Scene(issuer, client, passed)
        await client.close()


async def test_a_job_is_known_by_its_id_token(scene: Scene) -> None:
    assert await scene.prove(scene.issuer.issue(NOW)) == JOB


async def test_the_keys_are_read_once_for_many_tokens(scene: Scene) -> None:
    for _ in range(5):
        await scene.prove(scene.issuer.issue(NOW))
    assert scene.issuer.requests == [DISCOVERY, "/oauth/discovery/keys"]


async def test_keys_that_were_rotated_are_read_again(scene: Scene) -> None:
    before = scene.issuer.issue(NOW)
    await scene.prove(before)
    scene.issuer.keys = {"two": make_key("two")}
    scene.passed[0] += PAUSE_SECONDS
    assert await scene.prove(scene.issuer.issue(NOW)) == JOB
    assert await scene.find_reason(before) == "UnknownKey"


async def test_tokens_with_unknown_keys_cause_few_requests(scene: Scene) -> None:
    await scene.prove(scene.issuer.issue(NOW))
    forged = scene.issuer.issue(NOW, key=make_key("forged"))
    for _ in range(20):
        assert await scene.find_reason(forged) == "UnknownKey"
    assert len(scene.issuer.requests) == 2


async def test_a_revoked_key_is_used_for_an_hour_at_most(scene: Scene) -> None:
    before = scene.issuer.issue(NOW)
    await scene.prove(before)
    scene.issuer.keys = {"two": make_key("two")}
    scene.passed[0] += FRESH_SECONDS
    assert await scene.find_reason(before) == "UnknownKey"


async def test_a_key_is_not_used_for_longer_while_gitlab_does_not_say_whether_it_is_revoked(scene: Scene) -> None:
    token = scene.issuer.issue(NOW)
    await scene.prove(token)
    scene.issuer.broken = True
    scene.passed[0] += FRESH_SECONDS
    with pytest.raises(GitLabUnavailable):
        await scene.prove(token)
    with pytest.raises(RateLimited):
        await scene.prove(token)
    scene.issuer.broken = False
    scene.passed[0] += PAUSE_SECONDS
    assert await scene.prove(token) == JOB


async def test_a_stranger_with_an_unknown_key_keeps_no_job_waiting_for_a_slow_gitlab(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.prove(scene.issuer.issue(NOW))
    asked = asyncio.Event()

    async def answer_never(_path: str) -> Answer:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(scene.client._transport, "fetch_public", answer_never)
    scene.passed[0] += PAUSE_SECONDS
    stranger = asyncio.create_task(scene.prove(scene.issuer.issue(NOW, key=make_key("forged"))))
    await asked.wait()
    async with asyncio.timeout(5):
        assert await scene.prove(scene.issuer.issue(NOW)) == JOB
    stranger.cancel()


async def test_a_broken_token_causes_no_request(scene: Scene) -> None:
    assert await scene.find_reason("a.b.c") == "TokenBroken"
    assert scene.issuer.requests == []


async def test_gitlab_that_does_not_answer_says_nothing_of_a_token(scene: Scene) -> None:
    scene.issuer.broken = True
    with pytest.raises(GitLabUnavailable):
        await scene.prove(scene.issuer.issue(NOW))
    with pytest.raises(RateLimited):
        await scene.prove(scene.issuer.issue(NOW))
    assert len(scene.issuer.requests) == 1
    scene.issuer.broken, scene.passed[0] = False, scene.passed[0] + PAUSE_SECONDS
    assert await scene.prove(scene.issuer.issue(NOW)) == JOB


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"ref_type": "merge_request"}, "WrongPipeline"),
        ({"ref_protected": True}, "ClaimsBroken"),
        ({"ref_protected": "True"}, "ClaimsBroken"),
        ({"project_id": "20; 21"}, "ClaimsBroken"),
        ({"project_id": None}, "ClaimsBroken"),
        ({"sha": "main"}, "ClaimsBroken"),
        ({"ref": "a\nb"}, "ClaimsBroken"),
        ({"ref": ""}, "ClaimsBroken"),
    ],
)
def test_claims_of_another_form_are_refused(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProofRefused) as refused:
        read_claims(CLAIMS | claims)
    assert refused.value.reason == reason


async def test_a_job_is_known_by_its_job_token_while_it_runs(scene: Scene) -> None:
    scene.issuer.start_job("glcbt-64_abc")
    found = await scene.client.prove_job_token("glcbt-64_abc")
    assert found == JobIdentity(ProofKind.JOB_TOKEN, 20, 574, 302, "refs/heads/main", COMMIT, None, None, "sample")
    scene.issuer.start_job("glcbt-64_abc", status="canceling")
    assert await scene.client.prove_job_token("glcbt-64_abc") == found, "it may abort its build"
    scene.issuer.start_job("glcbt-64_abc", status="success")
    with pytest.raises(ProofRefused, match="JobNotRunning"):
        await scene.client.prove_job_token("glcbt-64_abc")


@pytest.mark.parametrize("token", ["glcbt-64_forged", "glpat-secret"])
async def test_a_token_that_is_not_a_jobs_is_refused_without_a_piece_of_it(scene: Scene, token: str) -> None:
    with pytest.raises(ProofRefused) as refused:
        await scene.client.prove_job_token(token)
    assert refused.value.reason == "UnknownToken"
    assert token not in str(refused.value)


@pytest.mark.parametrize("token", ["", "two lines\r\nX-Admin: yes", "x" * 5000])
async def test_what_is_no_token_causes_no_request(scene: Scene, token: str) -> None:
    with pytest.raises(ProofRefused, match="TokenBroken"):
        await scene.client.prove_job_token(token)
    assert scene.issuer.requests == []


async def test_strangers_with_job_tokens_cause_a_bounded_number_of_requests(scene: Scene) -> None:
    for _ in range(BURST):
        with pytest.raises(ProofRefused):
            await scene.client.prove_job_token("glcbt-64_forged")
    with pytest.raises(RateLimited) as limited:
        await scene.client.prove_job_token("glcbt-64_forged")
    assert limited.value.after == 1
    assert len(scene.issuer.requests) == BURST
    scene.passed[0] += 1
    with pytest.raises(ProofRefused):
        await scene.client.prove_job_token("glcbt-64_forged")


async def test_keys_are_read_from_the_gitlab_of_the_spec_alone(scene: Scene) -> None:
    scene.issuer.name = "https://forger.example.org/elsewhere"
    with pytest.raises(GitLabUnavailable):
        await scene.prove(scene.issuer.issue(NOW))
    assert scene.issuer.requests == [DISCOVERY, "/elsewhere/oauth/discovery/keys"]


@pytest.mark.parametrize("name", ["https://[", "file:///etc/passwd\n", "https://a.org/%2e%2e", "https://a.org/../.."])
async def test_an_odd_address_of_the_keys_is_not_requested(scene: Scene, name: str) -> None:
    scene.issuer.name = name
    with pytest.raises(GitLabUnavailable):
        await scene.prove(scene.issuer.issue(NOW))
    assert scene.issuer.requests[1:] in ([], ["/etc/passwd/oauth/discovery/keys"])
