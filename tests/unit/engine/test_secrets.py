"""Values of Secrets by reference: each problem has its reason and its place, and no message shows a value."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from bessemer.api.references import SecretReference
from bessemer.engine.secrets import SecretReader
from bessemer.engine.settings import Settings
from bessemer.foreign import Unreadable
from bessemer.kube.protocol import SECRETS
from tests.fakes.kubernetes import FakeKubernetes

VALUE = "s3cr3t"
REFERENCE = SecretReference(name="access", key="token")
WHERE = "spec.gitlab.apiTokenSecret"
URL = "https://gitlab.example.org"


def encode(text: bytes) -> str:
    return base64.b64encode(text).decode()


def refuse(_text: str) -> None:
    raise Unreadable("is not as wanted")


async def build_reader(data: dict[str, Any] | None, annotation: str | None = URL, **settings: Any) -> SecretReader:
    """Return a reader of a namespace with one Secret; None: with none."""
    kubernetes = FakeKubernetes(lambda: datetime(2026, 12, 1, tzinfo=UTC))
    if data is not None:
        annotations = {} if annotation is None else {"bessemer.dev/for": annotation}
        secret = {"metadata": {"name": "access", "annotations": annotations}, "data": data}
        await kubernetes.create_object(SECRETS, "lab", secret)
    kubernetes.calls.clear()
    return SecretReader(kubernetes, Settings(image="i", namespace="n", identity="me", **settings), "lab")


async def test_a_value_is_returned_without_white_space_and_its_secret_read_once() -> None:
    reader = await build_reader({"token": encode(f" {VALUE}\n".encode()), "other": encode(b"x")})
    assert await reader.find(REFERENCE, WHERE, url=URL) == VALUE
    assert await reader.find(SecretReference(name="access", key="other"), WHERE) == "x"
    assert await reader.find(None, WHERE) is None
    assert reader.problem is None
    assert reader._kubernetes.calls == [("get", "secrets", "access")]  # type: ignore[attr-defined]  # the fake's


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "SecretMissing: Secret access (spec.gitlab.apiTokenSecret) does not exist"),
        ({}, "SecretMissing: Secret access (spec.gitlab.apiTokenSecret) has no key token"),
        ({"token": ""}, "SecretEmpty: Secret access (spec.gitlab.apiTokenSecret): key token is empty"),
        ({"token": encode(b" \n")}, "SecretEmpty: Secret access (spec.gitlab.apiTokenSecret): key token is empty"),
        ({"token": "*"}, "SecretBroken: Secret access (spec.gitlab.apiTokenSecret): key token is not base64"),
        (
            {"token": encode(b"\xff")},
            "SecretBroken: Secret access (spec.gitlab.apiTokenSecret): key token is not text in UTF-8",
        ),
        (
            {"token": encode(VALUE.encode())},
            "SecretBroken: Secret access (spec.gitlab.apiTokenSecret): key token is not as wanted",
        ),
    ],
)
async def test_a_value_that_cannot_be_used_is_a_fact_with_its_reason(data: dict[str, Any] | None, said: str) -> None:
    reader = await build_reader(data)
    assert await reader.find(REFERENCE, WHERE, refuse) is None
    assert str(reader.problem) == said
    assert VALUE not in said


async def test_a_secret_goes_only_where_its_annotation_says_and_the_first_problem_is_kept() -> None:
    reader = await build_reader({"token": encode(VALUE.encode())}, annotation=None)
    assert await reader.find(REFERENCE, WHERE, url=URL) is None
    await reader.find(SecretReference(name="absent"), WHERE)
    assert reader.problem is not None
    assert reader.problem.reason == "SecretNotForHost"
    assert VALUE not in reader.problem.message
    free = await build_reader({"token": encode(VALUE.encode())}, annotation=None, secrets_name_hosts=False)
    assert await free.find(REFERENCE, WHERE, url=URL) == VALUE


async def test_a_secret_that_a_pod_mounts_is_asked_for_its_destination_alone() -> None:
    reader = await build_reader(None)
    await reader.allow("access", WHERE, URL)
    assert reader.problem is None
    reader = await build_reader({}, annotation="https://other.example.org")
    await reader.allow("access", WHERE, URL)
    assert reader.problem is not None
    assert reader.problem.reason == "SecretNotForHost"
