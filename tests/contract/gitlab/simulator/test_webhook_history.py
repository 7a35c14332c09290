"""Webhooks by the REST API, what they were sent, and sending it again, as python-gitlab understands them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from gitlab.v4.objects import ProjectHook

import gitlab
from tests.contract.gitlab.conftest import Site

SECONDS = 10


@dataclass
class Receiver:
    """Answers with a status, and keeps the headers of what it got."""

    url: str = ""
    status: int = 204
    got: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append(dict(self.headers))
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/"
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def tokens(site: Site) -> dict[str, str]:
    site.control.change_settings(job_events_for_pending=False)  # one event for each job
    return site.control.seed(
        projects=[{"path": "hpc/sim"}],
        users=[{"username": "owner", "access": {"hpc": 50}}],
        tokens=[
            {"user": "owner", "name": "owner"},
            {"user": "owner", "name": "reading", "scopes": ["read_api"]},
        ],
    )


def list_events(client: gitlab.Gitlab, hook: ProjectHook, count: int, **query: Any) -> list[dict[str, Any]]:
    """Wait until so many events are told."""
    deadline = time.monotonic() + SECONDS
    while True:
        found: Any = client.http_list(f"/projects/hpc%2Fsim/hooks/{hook.id}/events", query, get_all=True, per_page=20)
        if len(found) >= count or time.monotonic() > deadline:
            assert len(found) == count, found
            return list(found)


def resend(client: gitlab.Gitlab, hook: ProjectHook, event: dict[str, Any]) -> Any:
    return client.http_post(f"/projects/hpc%2Fsim/hooks/{hook.id}/events/{event['id']}/resend")


def test_an_event_that_failed_is_sent_again_with_the_same_key(
    site: Site, tokens: dict[str, str], receiver: Receiver
) -> None:
    client = site.connect(tokens["owner"])
    fields = {"url": receiver.url, "job_events": True, "push_events": False, "token": "hook-secret"}
    hook = client.projects.get("hpc/sim").hooks.create(fields)
    receiver.status = 500
    (job,) = site.control.run_jobs("hpc/sim", {})
    (event,) = list_events(client, hook, 1)
    assert (event["url"], event["trigger"], event["response_status"]) == (receiver.url, "job_hooks", "500")
    assert (event["request_data"]["build_id"], event["request_data"]["build_status"]) == (job, "created")
    assert event["request_headers"]["X-Gitlab-Token"] == "[REDACTED]"
    receiver.status = 200
    assert resend(client, hook, event) == {"response_status": 200}
    first, second = receiver.got
    assert first["Idempotency-Key"] == second["Idempotency-Key"] == event["request_headers"]["Idempotency-Key"]
    assert first["X-Gitlab-Event-UUID"] != second["X-Gitlab-Event-UUID"]
    assert (second["X-Gitlab-Token"], second["X-Gitlab-Event"]) == ("hook-secret", "Job Hook")
    again, before = list_events(client, hook, 2)
    assert (before["id"], again["response_status"], again["request_data"]) == (
        event["id"],
        "200",
        event["request_data"],
    )
    assert again["id"] != event["id"]


def test_events_are_told_by_how_they_were_answered(site: Site, tokens: dict[str, str], receiver: Receiver) -> None:
    client = site.connect(tokens["owner"])
    hook = client.projects.get("hpc/sim").hooks.create({"url": receiver.url, "job_events": True})
    for number, status in enumerate((204, 401, 503), 1):
        receiver.status = status
        site.control.run_jobs("hpc/sim", {})
        list_events(client, hook, number)
    for wanted, statuses in (
        ("successful", ["204"]),
        ("client_failure", ["401"]),
        ("server_failure", ["503"]),
        ("204,server_failure", ["503", "204"]),
        ("500", []),
    ):
        found = list_events(site.connect(tokens["reading"]), hook, len(statuses), status=wanted)
        assert [event["response_status"] for event in found] == statuses


def test_a_signed_event_that_is_sent_again_has_its_old_name_and_a_new_signature(
    site: Site, tokens: dict[str, str], receiver: Receiver
) -> None:
    client = site.connect(tokens["owner"])
    fields = {"url": receiver.url, "job_events": True, "signing_token": "whsec_c2VjcmV0"}
    hook = client.projects.get("hpc/sim").hooks.create(fields)
    site.control.run_jobs("hpc/sim", {})
    (event,) = list_events(client, hook, 1)
    site.control.advance_clock(600)
    resend(client, hook, event)
    first, second = receiver.got
    assert first["webhook-id"] == second["webhook-id"] == first["Idempotency-Key"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) >= 600
    assert first["webhook-signature"] != second["webhook-signature"]


def test_a_hook_is_listed_changed_and_deleted_and_shows_no_secret(site: Site, tokens: dict[str, str]) -> None:
    hooks = site.connect(tokens["owner"]).projects.get("hpc/sim").hooks
    made = hooks.create({"url": "http://127.0.0.1:1/", "token": "hook-secret", "signing_token": "whsec_c2VjcmV0"})
    assert (made.push_events, made.job_events, made.alert_status) == (True, False, "executable")
    assert not {"hook-secret", "whsec_c2VjcmV0"} & set(map(str, json.loads(made.to_json()).values()))
    made.job_events = True
    made.save()
    assert [(one.id, one.job_events, one.push_events) for one in hooks.list(get_all=True)] == [(made.id, True, True)]
    made.delete()
    assert hooks.list(get_all=True) == []
