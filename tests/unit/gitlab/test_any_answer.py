"""Whatever is answered, in any place of any answer: the client returns its own values, or raises its own errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from bessemer.errors import BessemerError, Invalid
from bessemer.foreign import Unreadable
from bessemer.gitlab.answers import Answer, LargeAnswers
from bessemer.gitlab.client import GitLabClient
from bessemer.gitlab.credentials import build_context
from bessemer.gitlab.failures import explain_status
from bessemer.gitlab.hooks import JobHook, JobHookReader, OtherHook, begin_proof
from bessemer.gitlab.limits import parse_wait
from bessemer.gitlab.protocol import (
    GitLabNotFound,
    GitLabUnavailable,
    Identity,
    PendingJobs,
    ProjectRef,
    Registration,
    RunnerRequest,
    Scope,
    ScopeType,
)
from bessemer.gitlab.transport import Transport
from tests.support.examples import examples

PROJECT, GROUP, INSTANCE = Scope(ScopeType.PROJECT, "hpc/sim"), Scope(ScopeType.GROUP, "hpc"), Scope(ScopeType.INSTANCE)
REQUEST = RunnerRequest(PROJECT, "pool", "marker", frozenset({"hpc"}), run_untagged=False, protected=False)
HINTS = [ProjectRef("hpc/x", 7)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TIME = "2026-03-02T08:00:00.000Z"
JOB = {
    "id": 7, "name": "mesh", "ref": "main", "tag": False, "tag_list": ["hpc"], "queued_at": TIME, "created_at": TIME,
    "pipeline": {"id": 1, "project_id": 12},
}  # fmt: skip
NODE = {
    "id": "gid://gitlab/Ci::Build/7", "name": "mesh", "refName": "main", "createdByTag": False, "tags": ["hpc"],
    "queuedAt": TIME, "project": {"id": "gid://gitlab/Project/12", "fullPath": "hpc/sim"},
}  # fmt: skip
LAST = {"hasNextPage": False, "endCursor": None}
BUSY = {"id": "gid://gitlab/Project/12", "fullPath": "hpc/sim", "pending": {"nodes": [{"id": "x"}]}}
RUNNER = {"id": 7, "token": "glrt-secret", "token_expires_at": TIME, "description": "pool (marker)"}
GRAPHQL = {
    "data": {"jobs": {"nodes": [NODE], "pageInfo": LAST}, "group": {"projects": {"nodes": [BUSY], "pageInfo": LAST}}}
}
ANSWERS: Mapping[str, Any] = {
    "/jobs": [JOB],
    "graphql": GRAPHQL,
    "/protected_branches": [{"name": "main"}, {"name": "release/*"}],
    "/user/runners": RUNNER,
    "/runners": [RUNNER],
    "/verify": RUNNER,
    "/reset_authentication_token": RUNNER,
    "/self": {"id": 1, "expires_at": "2026-03-09", "scopes": ["api"]},
    "/projects/hpc%2Fsim": {"id": 12, "path_with_namespace": "hpc/sim"},
    "/runners/7": RUNNER,
    "/managers": None,
}
Ask = Callable[[GitLabClient], Coroutine[Any, Any, object]]
CALLS: dict[str, tuple[Ask, object]] = {
    "project": (lambda gitlab: gitlab.list_pending_jobs(PROJECT, with_protected=True), PendingJobs),
    "group": (lambda gitlab: gitlab.list_pending_jobs(GROUP, with_protected=True, hints=HINTS), PendingJobs),
    "instance": (lambda gitlab: gitlab.list_pending_jobs(INSTANCE, with_protected=True), PendingJobs),
    "create": (lambda gitlab: gitlab.create_runner(REQUEST), Registration),
    "list": (lambda gitlab: gitlab.list_runners(PROJECT, "marker"), list),
    "update": (lambda gitlab: gitlab.update_runner(7, REQUEST), type(None)),
    "rotate": (lambda gitlab: gitlab.rotate_runner(7), Registration),
    "delete": (lambda gitlab: gitlab.delete_runner(7), type(None)),
    "verify": (lambda gitlab: gitlab.verify_runner("glrt-secret"), Identity | None),
    "manager": (lambda gitlab: gitlab.delete_manager("glrt-secret", "r_0123456789ab"), type(None)),
    "expiry": (lambda gitlab: gitlab.get_expiry(), datetime | None),
}


class Scripted(Transport):
    """Answers by the end of the path, without a connection."""

    def __init__(self, answers: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(URL("http://gitlab.example"), "glpat-secret", build_context(None), LargeAnswers())
        self._answers, self._status, self._headers = answers, status, headers or {}

    async def fetch(self, _method: str, path: str, **_: Any) -> Answer:  # type: ignore[override]  # takes any options
        data = next((data for end, data in self._answers.items() if path.endswith(end)), None)
        status = 204 if data is None and self._status == 200 else self._status
        return Answer(status, self._headers, data, None if data is not None else Unreadable("it is empty"))


def check_values(value: object) -> None:
    """All that the client returns is printable and bounded, times have a zone, and no token shows."""
    if isinstance(value, str):
        assert value.isprintable()
        assert len(value) <= 1024
    elif isinstance(value, datetime):
        assert value.tzinfo is not None
    elif isinstance(value, list | tuple | frozenset):
        for part in value:
            check_values(part)
    elif is_dataclass(value):
        for field in fields(value):
            check_values(getattr(value, field.name))


def ask(call: str, transport: Transport) -> object:
    """Call; return what is returned, None for an error of the client's own."""
    work, kind = CALLS[call]
    try:
        value = asyncio.run(work(GitLabClient(transport)))
    except BessemerError as error:
        said = error.message
    else:
        said = ""
    assert said.isprintable()
    assert len(said) < 500
    assert "secret" not in said
    if said:
        return None
    assert isinstance(value, kind)  # type: ignore[arg-type]  # a type, or a union of them
    check_values(value)
    return value


def list_places(data: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """List the places in a JSON value."""
    parts = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [at, *(place for key, part in parts for place in list_places(part, (*at, key)))]


def replace_at(data: Any, place: tuple[Any, ...], value: object) -> Any:
    """Return a copy with another value in one place."""
    if not place:
        return value
    copy = json.loads(json.dumps(data))
    whole = copy
    for key in place[:-1]:
        whole = whole[key]
    whole[place[-1]] = value
    return copy


@pytest.mark.parametrize("call", CALLS)
def test_good_answers_are_read(call: str) -> None:
    value = ask(call, Scripted(ANSWERS))
    assert (value is None) is (CALLS[call][1] is type(None))
    if isinstance(value, PendingJobs):
        assert [(job.id, job.project_ref, job.protected) for job in value.jobs] == [
            (7, ProjectRef("hpc/sim", 12), True)
        ]
        assert value.complete


@pytest.mark.parametrize("call", CALLS)
@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_any_value_in_any_place_of_any_answer(call: str, data: st.DataObject) -> None:
    end = data.draw(st.sampled_from(sorted(ANSWERS)))
    place = data.draw(st.sampled_from(list_places(ANSWERS[end])))
    ask(call, Scripted({**ANSWERS, end: replace_at(ANSWERS[end], place, data.draw(JSON))}))


@pytest.mark.parametrize("call", CALLS)
@settings(max_examples=examples(60), deadline=None)
@given(
    status=st.integers(200, 599),
    answer=JSON,
    headers=st.dictionaries(st.sampled_from(["Retry-After", "Date", "RateLimit-Reset"]), st.text(max_size=30)),
)
def test_any_status_with_any_answer(call: str, status: int, answer: object, headers: dict[str, str]) -> None:
    ask(call, Scripted(dict.fromkeys(ANSWERS, answer), status, headers))


WORDS = st.sampled_from(["message", "error", "error_description", "errors"])


@settings(max_examples=examples(300), deadline=None)
@given(st.integers(300, 599), st.dictionaries(WORDS, JSON | st.text(), max_size=3))
def test_any_refusal_in_gitlabs_form_is_a_short_printable_line(status: int, body: dict[str, object]) -> None:
    error = explain_status(status, {}, body)
    assert error.message.isprintable()
    assert len(error.message) <= 250


def test_of_a_project_that_was_moved_it_is_said() -> None:
    body = {"message": "405 Method Not Allowed - Non GET methods are not allowed for moved projects"}
    error = explain_status(405, {}, body)
    assert isinstance(error, GitLabNotFound)
    assert "renamed or moved" in error.message
    assert isinstance(explain_status(405, {}, {"message": "405 Method Not Allowed"}), GitLabUnavailable)


DATE = "Mon, 23 Nov 2026 12:00:00 GMT"


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["Retry-After", "Date", "RateLimit-Reset"]),
        st.text() | st.integers(0).map(str) | st.integers(1, 500).map(lambda digits: "9" * digits) | st.just(DATE),
    )
)
def test_any_headers_ask_for_a_pause_that_ends_or_for_none(headers: dict[str, str]) -> None:
    wait = parse_wait(headers)
    assert wait is None or 0 <= wait < 10**12


HOOK = {
    "object_kind": "build", "build_id": 7, "build_status": "pending", "build_name": "mesh", "ref": "main", "tag": False,
    "project_id": 12, "project": {"path_with_namespace": "hpc/sim"},
}  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(st.sampled_from(list_places(HOOK)), JSON)
def test_any_webhook_is_one_or_is_none(place: tuple[object, ...], value: object) -> None:
    body = json.dumps(replace_at(HOOK, place, value)).encode()
    try:
        hook = parse_hook(body)
    except Invalid as error:
        said = error.message
    else:
        assert isinstance(hook, JobHook | OtherHook)
        check_values(hook)
        said = ""
    assert said.isprintable()


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_webhook_or_none(body: bytes) -> None:
    headers = {"webhook-signature": "v1,x", "webhook-timestamp": "1772438400"}
    proof = begin_proof(headers, "secret", datetime.fromisoformat(TIME))
    assert proof is not None
    proof.feed(body)
    assert not proof.holds()
    with pytest.raises(Invalid):
        parse_hook(body)


def parse_hook(body: bytes) -> JobHook | OtherHook:
    reader = JobHookReader()
    reader.feed(body)
    return reader.parse()
