"""Events that GitLab could not deliver, and what is known of the webhook."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bessemer.errors import BessemerError
from bessemer.gitlab.protocol import AccessTokenRefused, GitLabRefused, GitLabUnavailable, RateLimited
from tests.support.trigger_world import TriggerWorld, build_manifest, push_body
from tests.unit.kinds.buildtrigger.test_merge_requests import (
    COMMENT,
    PIPELINE,
    PLAN,
    comment_body,
    open_request,
    pipeline_body,
    request_body,
)

SLOW = 601
"""Seconds; the interval is 600."""
PUSH: dict[str, Any] = {"name": "main", "push": {"branches": ["main"]}}


async def begin(world: TriggerWorld, *rules: dict[str, Any], hears: bool = True) -> None:
    world.hooks.send = world.take if hears else None
    world.repository.members[5] = 50
    await world.apply(rules=list(rules) or [PUSH])
    await world.settle()
    world.pass_time(5)


async def check_later(world: TriggerWorld) -> None:
    world.pass_time(SLOW)
    await world.settle()


async def test_events_that_no_comparison_of_branches_finds_are_sent_again_and_handled(world: TriggerWorld) -> None:
    await begin(world, COMMENT, PLAN, PIPELINE)
    commit, main = open_request(world, "one"), world.push("main")
    for body in (request_body(commit), comment_body(commit, "/bessemer plan"), pipeline_body(main)):
        world.hooks.lose(body, world.now())
    await check_later(world)
    assert sorted(event["kind"] for event in world.status()["events"]) == ["comment", "merge_request", "pipeline"]
    assert world.hooks.calls.count("resend") == 3


async def test_what_was_lost_while_the_operator_was_down_is_found_at_its_start(world: TriggerWorld) -> None:
    await begin(world, PLAN)
    world.hooks.lose(request_body(open_request(world, "one")), world.now())
    await world.restart_operator()
    world.hooks.send = world.take
    await world.settle()
    assert world.states() == [("Planned", "Planned")]


async def test_an_event_is_sent_again_once_even_if_the_operator_is_restarted(world: TriggerWorld) -> None:
    await begin(world, PLAN)
    world.hooks.lose(request_body(open_request(world, "one")), world.now())
    for _ in range(3):
        await check_later(world)
    await world.restart_operator()
    await world.settle()
    assert world.hooks.calls.count("resend") == 1
    assert len(world.records()) == 1


async def test_a_lost_push_that_was_found_by_comparing_branches_is_one_event(world: TriggerWorld) -> None:
    await begin(world)
    world.hooks.lose(push_body(world.push("one")), world.now())
    await check_later(world)
    assert len(world.records()) == 1


async def test_an_event_that_never_arrives_is_sent_a_bounded_number_of_times(world: TriggerWorld) -> None:
    await begin(world, PLAN, hears=False)
    world.hooks.lose(request_body(open_request(world, "one")), world.now())
    for _ in range(6):
        await check_later(world)
    assert world.hooks.calls.count("resend") == 2
    assert world.condition("WebhookHealthy") == ("False", "DeliveryFailed")


async def test_events_from_before_the_trigger_and_of_other_kinds_are_not_sent_again(world: TriggerWorld) -> None:
    commit = open_request(world, "one")
    world.hooks.lose(request_body(commit), world.now() - timedelta(hours=1))
    await begin(world, PLAN)
    world.hooks.lose({"object_kind": "build"}, world.now())
    await check_later(world)
    assert "resend" not in world.hooks.calls


@pytest.mark.parametrize("state", ["disabled", "temporarily_disabled"])
async def test_a_webhook_that_gitlab_has_disabled_is_a_condition_and_made_good_once_it_is_enabled(
    world: TriggerWorld, state: str
) -> None:
    await begin(world, PLAN)
    await world.take(push_body(None))
    world.hooks.lose(request_body(open_request(world, "one")), world.now())
    world.hooks.state = state
    await check_later(world)
    assert world.condition("WebhookHealthy") == ("False", "WebhookDisabled")
    assert "resend" not in world.hooks.calls
    registry = world.deps.metrics.registry
    assert registry.get_sample_value("bessemer_hook_checks_total", {"state": state}) == 1
    for _ in range(3):
        await check_later(world)
    world.hooks.state = "executable"
    await check_later(world)
    assert world.condition("WebhookHealthy") == ("True", "Heard")
    assert world.states() == [("Planned", "Planned")]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(GitLabRefused("403 Forbidden"), "GitLabRefused"), (GitLabUnavailable("503"), "GitLabUnavailable")],
)
async def test_a_gitlab_that_does_not_show_its_deliveries_is_said_and_branches_are_compared_all_the_same(
    world: TriggerWorld, error: BessemerError, reason: str
) -> None:
    world.hooks.error = error
    await begin(world)
    await check_later(world)
    assert world.condition("WebhookHealthy") == ("Unknown", reason)
    assert world.condition("Ready") == ("True", "Listening")
    commit = world.push("one", oxygen=build_manifest())
    await check_later(world)
    assert world.commit_of() == commit
    await world.take(push_body(None))
    await world.settle()
    assert world.condition("WebhookHealthy") == ("True", "Heard")
    world.hooks.error = None
    await check_later(world)
    (condition,) = [one for one in world.status()["conditions"] if one["type"] == "WebhookHealthy"]
    assert str(error) not in condition["message"]


async def test_a_token_that_may_send_nothing_again_is_said(world: TriggerWorld) -> None:
    await begin(world, PLAN)
    world.hooks.resend_error = GitLabRefused("403 insufficient_scope")
    for word in ("one", "two"):
        world.hooks.lose(request_body(open_request(world, word)), world.now())
    await check_later(world)
    assert world.hooks.calls.count("resend") == 1
    assert world.condition("WebhookHealthy") == ("False", "DeliveryFailed")


@pytest.mark.parametrize(("error", "seconds"), [(RateLimited("429", 40), 40), (AccessTokenRefused("401"), 60)])
async def test_what_gitlab_does_not_send_now_is_sent_after_a_pause(
    world: TriggerWorld, error: BessemerError, seconds: int
) -> None:
    await begin(world, PLAN)
    world.hooks.lose(request_body(open_request(world, "one")), world.now())
    world.hooks.resend_error = error
    await check_later(world)
    world.hooks.resend_error = None
    world.pass_time(seconds - 1)
    await world.settle()
    assert world.hooks.calls.count("resend") == 1
    world.pass_time(1)
    await world.settle()
    assert world.states() == [("Planned", "Planned")]


async def test_a_webhook_that_is_not_there_is_said_and_one_of_a_group_may_do(world: TriggerWorld) -> None:
    world.hooks.state = None
    await begin(world)
    await check_later(world)
    assert world.condition("WebhookHealthy") == ("Unknown", "WebhookNotFound")
    await world.take(push_body(None))
    await world.settle()
    assert world.condition("WebhookHealthy") == ("True", "Heard")


async def test_a_delivery_before_a_restart_counts_as_one(world: TriggerWorld) -> None:
    await begin(world, PLAN)
    world.hooks.lose(request_body(open_request(world, "one")), world.now())
    await check_later(world)
    await world.restart_operator()
    await world.settle()
    assert world.condition("WebhookHealthy") == ("True", "Delivered")


async def test_without_a_secret_no_webhook_is_looked_for(world: TriggerWorld) -> None:
    gitlab = {"url": "http://gitlab.example", "project": world.hooks.project, "apiTokenSecret": {"name": "gitlab"}}
    await world.apply(gitlab=gitlab | {"webhookSecret": None})
    world.hooks.calls.clear()
    await check_later(world)
    assert world.condition("WebhookHealthy") == ("False", "NoWebhookSecret")
    assert world.hooks.calls == []
