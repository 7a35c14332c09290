"""Webhooks: who may send one and what it says. Jobs: which runner takes which."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.errors import Invalid
from bessemer.foreign import Unreadable
from bessemer.gitlab.hooks import JobHook, JobHookReader, OtherHook, begin_proof, check_secret
from bessemer.gitlab.jobs import RunnerTraits, compute_matches, parse_graphql_job, parse_rest_job
from bessemer.gitlab.protocol import PendingJob, ProjectRef, Scope, ScopeType

NOW = datetime(2026, 3, 2, tzinfo=UTC)
BODY = json.dumps(
    {
        "object_kind": "build",
        "build_id": 7,
        "build_status": "pending",
        "project": {"path_with_namespace": "hpc/simulations"},
    }
).encode()


def sign(key: bytes, stamp: int, body: bytes = BODY) -> dict[str, str]:
    digest = hmac.new(key, f"id-1.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": "id-1", "webhook-timestamp": str(stamp), "webhook-signature": signature}


def verify(headers: dict[str, str], body: bytes, secret: str, now: datetime) -> bool:
    proof = begin_proof(headers, secret, now)
    if proof is None:
        return False
    for at in range(0, len(body), 7):
        proof.feed(body[at : at + 7])
    return proof.holds()


def parse_hook(body: bytes) -> JobHook | OtherHook:
    reader = JobHookReader()
    for at in range(0, len(body), 7):
        reader.feed(body[at : at + 7])
    return reader.parse()


def test_a_sender_proves_itself_by_the_token() -> None:
    assert verify({"X-Gitlab-Token": "right"}, BODY, "right", NOW)
    assert not verify({"X-Gitlab-Token": "wrong"}, BODY, "right", NOW)
    assert not verify({}, BODY, "right", NOW)
    assert not verify({}, BODY, "", NOW)
    assert not verify({"X-Gitlab-Token": ""}, BODY, "", NOW)


def test_only_a_signature_needs_the_body() -> None:
    token = begin_proof({"X-Gitlab-Token": "right"}, "right", NOW)
    assert token is not None
    assert token.in_headers
    signature = begin_proof(sign(b"right", int(NOW.timestamp())), "right", NOW)
    assert signature is not None
    assert not signature.in_headers


def test_a_sender_proves_itself_by_a_signature() -> None:
    key = b"0123456789abcdef0123456789abcdef"
    secret = f"whsec_{base64.b64encode(key).decode()}"
    stamp = int(NOW.timestamp())
    assert verify(sign(key, stamp), BODY, secret, NOW)
    assert verify(sign(b"plain", stamp), BODY, "plain", NOW)
    assert not verify(sign(key, stamp), BODY + b" ", secret, NOW)
    assert not verify(sign(key, stamp - 301), BODY, secret, NOW)
    assert not verify(sign(b"wrong", stamp), BODY, secret, NOW)


@pytest.mark.parametrize(
    "secret", ["whsec_", "whsec_AAAA", "whsec_" + base64.b64encode(b"k" * 23).decode(), "whsec_not base64", "whsec_é"]
)
def test_a_signing_key_that_is_empty_short_or_none_is_refused(secret: str) -> None:
    with pytest.raises(Unreadable, match="24 bytes"):
        check_secret(secret)


@pytest.mark.parametrize("secret", ["whsec_" + base64.b64encode(b"k" * 24).decode(), "x", "Schlüssel"])
def test_other_secrets_are_taken(secret: str) -> None:
    check_secret(secret)


def test_a_wrong_signature_is_not_made_good_by_the_token() -> None:
    headers = sign(b"wrong", int(NOW.timestamp())) | {"X-Gitlab-Token": "right"}
    assert not verify(headers, BODY, "right", NOW)


def test_a_webhook_says_which_job_is_how() -> None:
    assert parse_hook(BODY) == JobHook("hpc/simulations", 7, "pending")
    assert parse_hook(b'{"object_kind": "pipeline"}') == OtherHook("pipeline")
    long = json.dumps(
        json.loads(BODY) | {"commit": {"message": "x" * 10**6}, "build_name": "t", "ref": "v1", "tag": True}
    )
    assert parse_hook(long.encode()) == JobHook("hpc/simulations", 7, "pending", "t", "v1", True)


@given(
    st.dictionaries(
        st.sampled_from(["object_kind", "build_id", "build_status", "build_name", "ref", "tag", "project"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("build")
        | st.dictionaries(st.just("path_with_namespace"), st.text() | st.none() | st.lists(st.none())),
    )
)  # fmt: skip
def test_whatever_the_members_are_it_is_a_webhook_or_none(members: dict[str, object]) -> None:
    body = json.dumps(members).encode()
    try:
        hook = parse_hook(body)
    except Invalid:
        return
    shown = hook.name if isinstance(hook, JobHook) else hook.kind
    assert shown.isprintable()


@pytest.mark.parametrize("stamp", ["9" * 400, "9" * 5000, "-1", "1e3", "²", "", "now"])
def test_a_time_stamp_that_is_none_is_refused(stamp: str) -> None:
    assert not verify(sign(b"right", int(NOW.timestamp())) | {"webhook-timestamp": stamp}, BODY, "right", NOW)


@pytest.mark.parametrize("header", ["X-Gitlab-Token", "webhook-id", "webhook-signature"])
def test_bytes_that_are_no_text_are_refused(header: str) -> None:
    sent = b"v1,\xff\xfe".decode(errors="surrogateescape")
    signed = sign(b"right", int(NOW.timestamp())) if header != "X-Gitlab-Token" else {}
    assert not verify(signed | {header: sent}, BODY, "right", NOW)


def test_a_secret_of_any_letters_is_taken() -> None:
    assert verify({"X-Gitlab-Token": "Schlüssel"}, BODY, "Schlüssel", NOW)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100000,
        b'{"object_kind": "build", "build_id": 1e999, "build_status": "x"}',
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"object_kind": "build", "build_id": "x"}',
        b'{"object_kind": "build", "build_id": 7}',
        b'{"object_kind": "build", "build_id": 0, "build_status": "pending"}',
        b'{"object_kind": "build", "build_id": true, "build_status": "pending"}',
        b'{"object_kind": "build", "build_id": [7], "build_status": "pending"}',
        b'{"object_kind": ["build"], "build_id": 7, "build_status": "pending"}',
        b'{"object_kind": "build", "build_id": 7, "build_status": "pending"',
        b"\xff",
    ],
)
def test_what_is_no_webhook_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match="InvalidWebhook"):
        parse_hook(body)


def match(tags: set[str], *, untagged: bool = False, protected: bool = False, scope: Scope | None = None,
          job_tags: tuple[str, ...] = ("hpc",), job_protected: bool | None = None) -> bool:  # fmt: skip
    job = PendingJob(1, "hpc/simulations/cfd", frozenset(job_tags), protected=job_protected)
    scope = scope or Scope(ScopeType.INSTANCE)
    return compute_matches(job, RunnerTraits(scope, frozenset(tags), untagged, protected))


def test_a_runner_takes_jobs_whose_tags_it_has() -> None:
    assert match({"hpc", "gpu"})
    assert not match({"gpu"})
    assert not match({"hpc"}, job_tags=())
    assert match({"hpc"}, job_tags=(), untagged=True)


def test_a_runner_takes_jobs_of_its_scope() -> None:
    assert match({"hpc"}, scope=Scope(ScopeType.GROUP, "hpc"))
    assert match({"hpc"}, scope=Scope(ScopeType.GROUP, "hpc/simulations"))
    assert not match({"hpc"}, scope=Scope(ScopeType.GROUP, "hp"))
    assert match({"hpc"}, scope=Scope(ScopeType.PROJECT, "hpc/simulations/cfd"))
    assert not match({"hpc"}, scope=Scope(ScopeType.PROJECT, "hpc/simulations"))


def test_a_runner_for_protected_refs_takes_no_job_that_is_not_known_to_be() -> None:
    assert match({"hpc"}, protected=True, job_protected=True)
    assert not match({"hpc"}, protected=True, job_protected=False)
    assert not match({"hpc"}, protected=True)


def test_jobs_are_read_from_both_apis() -> None:
    raw: dict[str, object] = {"id": 7, "name": "mesh", "ref": "main", "tag_list": ["hpc"]}
    rest = parse_rest_job(raw | {"pipeline": {"id": 1, "project_id": 12}}, ProjectRef("hpc/simulations"))
    raw = {"id": "gid://gitlab/Ci::Build/7", "name": "mesh", "refName": "main", "tags": ["hpc"]}
    project = {"id": "gid://gitlab/Project/12", "fullPath": "hpc/simulations"}
    assert parse_graphql_job(raw | {"project": project}) == rest
    assert rest is not None
    assert rest.project_ref == ProjectRef("hpc/simulations", 12)
