"""Events that GitLab could not deliver: which ones are sent again, and how the webhook is. Pure.

Merge requests, pipelines and comments are found by nothing else: a comparison of branches and tags does not show them.
GitLab's own list says what was sent again already, so nothing has to be remembered, and an event that arrives twice
leads to one record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from bessemer.api.buildtrigger.resource import BuildTrigger
from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.engine.conditions import Verdict
from bessemer.gitlab.hooklog import EXECUTABLE, Delivery
from bessemer.kinds.buildtrigger.facts import Facts, Listed, Lost
from bessemer.kinds.buildtrigger.plan import CheckHook, Move, Resend

KINDS = frozenset({"push", "tag_push", "merge_request", "note", "pipeline"})
"""Kinds of events that may lead to a build."""
MOST_TRIES = 3
"""How often an event is sent in all: once by GitLab itself, then at most once for each check."""
KEPT = timedelta(days=7)
"""How old an event may be that is sent again. Older ones are deleted as records, too."""
LATE = timedelta(minutes=10)
"""How much later than it was sent an event may be listed."""
CONDITION = "WebhookHealthy"


def build_webhook_path(trigger: BuildTrigger) -> str:
    """Return the path to which GitLab's webhook posts."""
    return f"/v1/triggers/{trigger.namespace}/{trigger.name}"


def list_lost(listed: Iterable[Listed]) -> tuple[Lost, ...]:
    """List the events to send again, the earliest first: those that never arrived, of webhooks that are sent events.

    One without a key is none: it is not known whether it was sent again.
    """
    found = []
    for one in listed:
        tries: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in one.deliveries if one.hook.state in (EXECUTABLE, "") else ():
            if delivery.key and delivery.kind in KINDS:
                tries[delivery.key].append(delivery)
        lost = [sent for sent in tries.values() if len(sent) < MOST_TRIES and not any(each.arrived for each in sent)]
        found += [(sent[0].at, Lost(one.hook.id, sent[0].id, sent[0].kind)) for sent in lost]
    return tuple(event for _, event in sorted(found, key=lambda each: each[0]))


def decide_webhook(facts: Facts, spec: BuildTriggerSpec, now: datetime) -> Move:
    """Return the next question about the webhook, the next event to send again, or how long that has time."""
    hook, seconds = facts.hook, spec.gitlab.poll_seconds
    if spec.gitlab.webhook_secret is None:
        return Move("NoWebhookSecret", "no webhook is expected")
    if hook.retry_at is not None and hook.retry_at > now:
        return Move("WaitForGitLab", "about the webhook", wake_after=(hook.retry_at - now).total_seconds())
    if hook.lost:
        lost = hook.lost[0]
        return Move(
            "DeliveryFailed", f"{lost.kind}: delivery {lost.delivery} of webhook {lost.hook} failed", Resend(lost)
        )
    age = (now - hook.checked_at).total_seconds() if hook.checked_at is not None else seconds
    if age < seconds:
        return Move("WebhookChecked", "its deliveries were listed", wake_after=seconds - age)
    # What failed before there was the trigger leads to nothing, as what is in the repository already.
    starts = [now - KEPT, facts.trigger.created, hook.settled and hook.settled - LATE]
    since = max(start for start in starts if start is not None)
    text = f"its failed deliveries are listed every {seconds} s"
    return Move("WebhookUnchecked", text, CheckHook(build_webhook_path(facts.trigger), since))


def judge_webhook(facts: Facts) -> Verdict:
    """Return the condition of the webhook."""
    spec, hook = facts.trigger.spec, facts.hook
    if spec is not None and spec.gitlab.webhook_secret is None:
        return Verdict(CONDITION, "False", "NoWebhookSecret", "spec.gitlab.webhookSecret is not set")
    resting = [one for one in hook.listed or () if one.hook.state not in (EXECUTABLE, "")]
    if resting:
        names = ", ".join(f"{one.hook.id} is {one.hook.state}" for one in resting[:4])
        return Verdict(CONDITION, "False", "WebhookDisabled", f"GitLab sends no events: webhook {names}")
    return _judge_deliveries(facts, hook.listed or ())


def _judge_deliveries(facts: Facts, listed: Sequence[Listed]) -> Verdict:
    """Return the condition of a webhook that is not disabled, as far as is known."""
    hook, heard, latest = facts.hook, facts.hook.heard_at, [one.deliveries[0] for one in listed if one.deliveries]
    failed = next((one for one in latest if not one.arrived), None)
    if failed is not None and (heard is None or heard < failed.at):
        text = f"the latest delivery, at {failed.at:%Y-%m-%dT%H:%M}Z, was answered: {failed.answer}"
        return Verdict(CONDITION, "False", "DeliveryFailed", text)
    unseen = f"; GitLab does not show or repeat its deliveries: {hook.problem.message}" if hook.problem else ""
    if heard is not None:
        return Verdict(CONDITION, "True", "Heard", f"the last webhook arrived at {heard:%Y-%m-%dT%H:%M}Z{unseen}")
    if latest:
        return Verdict(CONDITION, "True", "Delivered", f"GitLab's last delivery was at {latest[0].at:%Y-%m-%dT%H:%M}Z")
    return _explain_silence(facts, f"no webhook has arrived since the operator was started{unseen}")


def _explain_silence(facts: Facts, text: str) -> Verdict:
    """Return the condition of a webhook of which nothing was heard; GitLab may have had nothing to tell."""
    if facts.hook.problem is not None:
        return Verdict(CONDITION, "Unknown", facts.hook.problem.reason, text)
    if facts.hook.listed == ():
        path = build_webhook_path(facts.trigger)
        text = f"{text}, and the project has no webhook whose URL ends with {path}"
        return Verdict(CONDITION, "Unknown", "WebhookNotFound", text)
    return Verdict(CONDITION, "Unknown", "NotHeard", text)
