"""The Secrets of a GitLab, for every kind that has one: where a token goes, and how often strangers cause reads."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bessemer.api.buildtrigger.spec import TriggerConnection
from bessemer.api.runnerpool.spec import GitLabConnection
from bessemer.engine.gitlabsecrets import CA, REFRESH_PAUSE, find_api_token, may_refresh, read_webhook_secret
from bessemer.engine.secrets import SecretReader
from bessemer.kube.protocol import SECRETS
from tests.fakes.deps import build_deps
from tests.fakes.kubernetes import FakeKubernetes

NOW = datetime(2026, 12, 1, tzinfo=UTC)
URL = "https://gitlab.example.org"
SPEC = {
    "url": URL,
    "apiTokenSecret": {"name": "api"},
    "webhookSecret": {"name": "hook"},
}
CONNECTIONS = [
    lambda **spec: TriggerConnection.model_validate({**SPEC, "project": "hpc/site", **spec}),
    lambda **spec: GitLabConnection.model_validate({**SPEC, "scope": {"type": "Project", "path": "hpc/site"}, **spec}),
]


async def build_kubernetes(**values: str) -> FakeKubernetes:
    kubernetes = FakeKubernetes(lambda: NOW)
    for name, value in values.items():
        metadata = {"name": name, "annotations": {"bessemer.dev/for": URL}}
        data = {"token": base64.b64encode(value.encode()).decode(), "ca.crt": ""}
        await kubernetes.create_object(SECRETS, "lab", {"metadata": metadata, "data": data})
    return kubernetes


@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize(
    ("ca", "token"),
    [(None, "glpat-1"), ({"name": "ca", "key": "token"}, "glpat-1"), ({"name": "gone", "key": "token"}, None)],
)
async def test_a_token_is_not_sent_where_the_authorities_of_the_spec_can_not_be_read(
    connection: Any, ca: Any, token: str | None
) -> None:
    deps = build_deps(await build_kubernetes(api="glpat-1", ca="PEM"), lambda: NOW)
    gitlab = connection(**({"caSecret": ca} if ca is not None else {}))
    reader = SecretReader(deps.kubernetes, deps.settings, "lab")
    assert await find_api_token(reader, gitlab, await reader.find(gitlab.ca_secret, CA)) == token


@pytest.mark.parametrize("connection", CONNECTIONS)
async def test_the_secret_of_webhooks_is_read_alone(connection: Any) -> None:
    kubernetes = await build_kubernetes(api="glpat-1", hook="secret")
    kubernetes.calls.clear()
    deps = build_deps(kubernetes, lambda: NOW)
    assert await read_webhook_secret(deps, "lab", connection()) == "secret"
    assert kubernetes.calls == [("get", "secrets", "hook")]


def test_refusals_cause_no_more_than_one_read_in_two_seconds() -> None:
    assert not may_refresh(NOW, NOW + REFRESH_PAUSE - timedelta(milliseconds=1))
    assert may_refresh(NOW, NOW + REFRESH_PAUSE)
