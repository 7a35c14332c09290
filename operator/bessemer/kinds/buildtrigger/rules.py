"""Which rule of a trigger fits an event. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bessemer.api.buildtrigger.patterns import PathMatcher
from bessemer.api.buildtrigger.rules import MergeRequest, Mode, Rule
from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.api.gitlab import matches_ref
from bessemer.api.references import ScopeType
from bessemer.gitlab.events import BRANCH, MERGE_REQUEST, TAG, Event, MergeRequestEvent, OtherEvent, RefEvent
from bessemer.gitlab.protocol import Changes, Scope

MOST_COMPARISONS = 50_000
"""Patterns times changed files above which a rule holds without a look at them, as in GitLab."""
_SKIP = re.compile(r"\[(ci[ _-]skip|skip[ _-]ci)\]", re.IGNORECASE)
"""Source: SKIP_PATTERN in lib/gitlab/ci/pipeline/chain/skip.rb of gitlab-org/gitlab."""


@dataclass(frozen=True)
class Match:
    """An event that a rule fits, as far as the event itself tells."""

    rule: str
    event: RefEvent | MergeRequestEvent
    commit: str
    project: str = ""
    """Full path of the project, of a trigger for a group."""


@dataclass(frozen=True)
class Ignored:
    """An event that leads to nothing."""

    reason: str
    """One CamelCase word."""
    message: str


@dataclass(frozen=True)
class Subject:
    """What rules are about: where an event happened, and what is known of it."""

    kind: str
    """push, tag, pipeline, merge_request or comment."""
    name: str
    """Short name of the branch or tag, or of the branch that a merge request goes to."""
    protected: bool
    draft: bool = False
    fork: bool = False
    command: str = ""
    """What a comment asks for."""
    merge_request: bool = False
    """Of a job: whether its pipeline is that of a merge request."""
    project: str = ""
    """Full path of the project, of a trigger for a group."""


def match_event(spec: BuildTriggerSpec, event: Event, number: int | None = None) -> Match | Ignored:
    """Return the first rule that fits an event, or why none does.

    ``number`` is that of the trigger's project in GitLab, where it is known: it stays when the project is moved.

    What the event does not tell is not known yet, and no reason against it: whether the ref is protected and which
    files have changed is looked up in GitLab before anything is built.
    """
    if isinstance(event, OtherEvent):
        return Ignored("OtherEvent", f"this event of the kind {event.kind} leads to no build")
    path, scope, group = event.project.path, get_scope(spec), spec.gitlab.group is not None
    renamed = not group and number is not None and event.project.id == number
    if (path or group) and not scope.has_project(path) and not renamed:
        return Ignored("OtherProject", f"the event is about the project {path or '(it does not say which)'}")
    project = path if group else ""
    if isinstance(event, MergeRequestEvent):
        return _match_merge_request(spec, event, project)
    if event.commit is None:
        return Ignored("RefDeleted", f"{event.ref} was deleted")
    if event.skip:
        return Ignored("SkipRequested", "the push option ci.skip was given")
    name = get_short_name(event.ref)
    subject = Subject(event.kind, name, protected=event.protected is not False, project=project)
    found = choose_rule(list_rules(spec.rules, subject), subject, None)
    return found if isinstance(found, Ignored) else Match(found.name, event, event.commit, project)


def _match_merge_request(spec: BuildTriggerSpec, event: MergeRequestEvent, project: str) -> Match | Ignored:
    if not event.command and not event.moved:
        return Ignored("NotMoved", "the merge request has no new commits, or is closed")
    kind = "comment" if event.command else "merge_request"
    subject = Subject(
        kind,
        event.target or "",
        protected=True,
        draft=event.draft,
        fork=event.fork,
        command=event.command,
        project=project,
    )
    if event.target is None and not event.command:
        # Where it goes is looked up later.
        rules = [rule for rule in list_project_rules(spec.rules, project) if rule.merge_request is not None]
    else:
        rules = list_rules(spec.rules, subject)
    found = choose_rule(rules, subject, None)
    return found if isinstance(found, Ignored) else Match(found.name, event, event.commit, project)


def get_short_name(ref: str) -> str:
    """Return the name of a branch or tag as people write it."""
    return ref.removeprefix(BRANCH) if ref.startswith(BRANCH) else ref.removeprefix(TAG)


def get_scope(spec: BuildTriggerSpec) -> Scope:
    """Return the projects that a trigger is for: one, or those of a group and the groups below it."""
    if spec.gitlab.group is not None:
        return Scope(ScopeType.GROUP, spec.gitlab.group)
    return Scope(ScopeType.PROJECT, spec.gitlab.project or "")


def list_job_rules(rules: Iterable[Rule], ref: str, target: str = "", project: str = "") -> list[Rule]:
    """List the rules for jobs of a branch or tag, in their order; ``ref`` is its full name.

    For a job of a merge request's pipeline, it is that of the merge request, and ``target`` the branch it goes to.
    """
    of_request = ref.startswith(MERGE_REQUEST)
    name = target if of_request else get_short_name(ref)
    return list_rules(rules, Subject("job", name, protected=True, merge_request=of_request, project=project))


def list_rules(rules: Iterable[Rule], subject: Subject) -> list[Rule]:
    """List the rules for what an event is about, in their order."""
    return [rule for rule in list_project_rules(rules, subject.project) if fits(rule, subject)]


def list_project_rules(rules: Iterable[Rule], project: str) -> list[Rule]:
    """List the rules that are not limited to other projects of a trigger's group."""
    name = project.lower()
    return [
        rule for rule in rules if not rule.projects or matches_ref(name, [pattern.lower() for pattern in rule.projects])
    ]


def fits(rule: Rule, subject: Subject) -> bool:
    """Return whether a rule is for what an event is about, whatever the project."""
    match subject.kind:
        case "push":
            return rule.push is not None and matches_ref(subject.name, rule.push.branches)
        case "tag":
            return rule.tag is not None and matches_ref(subject.name, rule.tag.tags)
        case "job":
            job = rule.job
            named = job is not None and matches_ref(subject.name, job.refs)
            return named and (not subject.merge_request or (job is not None and job.merge_requests))
        case "pipeline":
            return rule.pipeline is not None and matches_ref(subject.name, rule.pipeline.refs)
        case "merge_request":
            about = rule.merge_request
            return about is not None and matches_ref(subject.name, about.target_branches)
    return rule.comment is not None and subject.command in rule.comment.commands


def _exclude(rule: Rule, subject: Subject) -> Ignored | None:
    """Return why a rule that is for an event does not hold; None if it does."""
    about = rule.push or rule.tag or rule.pipeline or rule.job
    if about is not None and about.protected_only and not subject.protected:
        return Ignored("RefNotProtected", f"the ref is not protected, and {rule.name} is for protected refs")
    if rule.job is not None and subject.fork:
        return Ignored("FromFork", "the merge request is from a fork")
    if rule.comment is not None and subject.fork and not rule.comment.forks:
        return Ignored("FromFork", f"the merge request is from a fork, and {rule.name} is not for forks")
    return _exclude_merge_request(rule, rule.merge_request, subject) if rule.merge_request is not None else None


def _exclude_merge_request(rule: Rule, request: MergeRequest, subject: Subject) -> Ignored | None:
    if subject.fork:
        return Ignored("FromFork", "the merge request is from a fork: only a comment of a member can have it built")
    if subject.draft and not request.drafts:
        return Ignored("Draft", f"the merge request is a draft, and {rule.name} is not for drafts")
    if request.protected_only and rule.mode is Mode.BUILD and not subject.protected:
        text = f"the source branch is not protected, and {rule.name} builds from protected branches only"
        return Ignored("RefNotProtected", text)
    return None


def needs_changes(rules: Iterable[Rule]) -> bool:
    """Return whether which rule fits depends on the files that have changed."""
    return any(rule.paths for rule in rules)


def choose_rule(rules: Sequence[Rule], subject: Subject, changes: Changes | None) -> Rule | Ignored:
    """Return the first of the rules for an event that holds, or why none does.

    ``changes`` is None where there is no list of changed files: every path filter holds then, as in GitLab.
    """
    if not rules:
        return Ignored("NoRule", "no rule is for this branch, tag, merge request or command")
    excluded = [_exclude(rule, subject) for rule in rules]
    allowed = [rule for rule, why in zip(rules, excluded, strict=True) if why is None]
    if not allowed:
        return next(why for why in excluded if why is not None)
    found = next((rule for rule in allowed if _has_changed(rule, changes)), None)
    return found or Ignored("PathsUnchanged", f"no file of the paths of {allowed[0].name} has changed")


def _has_changed(rule: Rule, changes: Changes | None) -> bool:
    if not rule.paths or changes is None or not changes.complete:
        return True
    matcher = PathMatcher(rule.paths)
    if matcher.count * len(changes.paths) > MOST_COMPARISONS:
        return True
    return any(matcher.matches(path) for path in changes.paths)


def asks_to_skip(message: str) -> bool:
    """Return whether a commit's message says that no pipeline must run."""
    return _SKIP.search(message) is not None
