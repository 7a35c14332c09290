"""Reads what an event leads to from the repository, at the commit of the event."""

from __future__ import annotations

import asyncio

from bessemer.api.buildtrigger.patterns import PathMatcher, get_folder, is_plain
from bessemer.api.buildtrigger.resource import BuildTrigger
from bessemer.api.buildtrigger.rules import AccessLevel, Command, Mode, Rule
from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.gitlab.answers import AnswerTooLarge, AnswerTooSlow
from bessemer.gitlab.events import BRANCH, MERGE_REQUEST, find_command
from bessemer.gitlab.protocol import Changes, GitLabNotFound, GitLabRejected, GitLabUnavailable, Head, Repository
from bessemer.kinds.buildtrigger.facts import Answer, Problem, Resolution
from bessemer.kinds.buildtrigger.judge import choose_clusters, judge_files
from bessemer.kinds.buildtrigger.records import RecordedEvent
from bessemer.kinds.buildtrigger.rules import (
    Ignored,
    Subject,
    choose_rule,
    get_short_name,
    list_job_rules,
    list_rules,
    needs_changes,
)
from bessemer.kinds.buildtrigger.scope import get_project

ACCESS_LEVELS = {AccessLevel.DEVELOPER: 30, AccessLevel.MAINTAINER: 40, AccessLevel.OWNER: 50}
"""Source: https://docs.gitlab.com/api/access_requests/#valid-access-levels"""
MOST_FILES = 64
"""Maximum number of files of one event."""
READ_SECONDS = 120.0
"""For all that is read of one event."""
MOST_BYTES = 2 << 20
"""Maximum size of all files of one event together: to read a megabyte of YAML takes a quarter of a minute."""


async def resolve_event(
    repository: Repository,
    trigger: BuildTrigger,
    spec: BuildTriggerSpec,
    event: RecordedEvent,
    head: Head,
    judging: asyncio.Semaphore,
) -> Answer:
    """Return what an event leads to; ``judging`` holds the few events whose files are read as YAML.

    Raises GitLab's errors; GitLabNotFound for a commit that is not there, or not there yet.
    """
    try:
        # Each call is bounded, but there may be many; meanwhile the trigger can't be deleted, for one.
        async with asyncio.timeout(READ_SECONDS):
            rule = await _find_rule(repository, spec, event, head)
            reads = isinstance(rule, Rule) and event.command != Command.ABORT
            files = await _get_files(repository, spec, event) if reads else {}
    except TimeoutError:
        raise GitLabUnavailable(f"the files of a commit were not all read within {READ_SECONDS:g} s") from None
    if isinstance(rule, Ignored):
        return rule
    if event.command == Command.ABORT:
        return Resolution(rule.name)
    if isinstance(files, Problem):
        return Resolution(rule.name, refusal=files)
    # Beside the event loop: to read a large file as YAML takes seconds.
    async with judging:
        found = await asyncio.to_thread(judge_files, trigger, spec, rule, files, event.commit)
    return choose_clusters(found, event.job) if event.job is not None else found


async def _find_rule(
    repository: Repository, spec: BuildTriggerSpec, event: RecordedEvent, head: Head
) -> Rule | Ignored:
    name = head.target if event.ref.startswith(MERGE_REQUEST) else get_short_name(event.ref)
    subject = Subject(
        event.kind,
        name,
        head.protected,
        draft=head.draft,
        fork=head.fork,
        command=event.command,
        merge_request=event.ref.startswith(MERGE_REQUEST),
        project=event.project,
    )
    if event.job is not None:
        # Whether the job may use the rule was decided when it proved who it is.
        fitting = [
            rule for rule in list_job_rules(spec.rules, event.ref, name, event.project) if rule.name == event.rule
        ]
        return choose_rule(fitting, subject, None)
    rules, changes = list_rules(spec.rules, subject), None
    if needs_changes(rules):
        changes = await _read_changes(repository, get_project(spec, event), event, head)
    found = choose_rule(rules, subject, changes)
    if isinstance(found, Ignored) or found.comment is None:
        return found
    if event.actor_id == await repository.get_user_id():
        return Ignored("OwnComment", f"{event.actor} is the user of the trigger's access token")
    doubt = await _doubt_comment(repository, get_project(spec, event), event)
    if doubt:
        return Ignored("CommentNotConfirmed", doubt)
    level = await repository.get_access_level(get_project(spec, event), event.actor_id)
    if level < ACCESS_LEVELS[found.comment.access_level]:
        return Ignored("NoMember", f"{event.actor} is not at least {found.comment.access_level} of the project")
    return found.model_copy(update={"mode": Mode.PLAN if event.command == Command.PLAN else Mode.BUILD})


async def _doubt_comment(repository: Repository, project: str, event: RecordedEvent) -> str:
    """Return what is wrong with a comment by what GitLab says of it now; empty if nothing is.

    A user who may change a webhook can make it send anything, by a template for its bodies: another author,
    another project, or an old comment with a later commit.
    """
    comment = await repository.get_comment(project, event.ref, event.comment)
    if comment is None:
        return f"comment {event.comment} is not there, or not any more"
    if comment.author_id != event.actor_id or find_command(comment.text) != event.command:
        return f"comment {event.comment} is not one of {event.actor} that asks for {event.command}, or not any more"
    if comment.commit != event.commit:
        return f"comment {event.comment} was not written when {event.commit[:12]} was the latest commit"
    return ""


async def _read_changes(repository: Repository, project: str, event: RecordedEvent, head: Head) -> Changes | None:
    """Return what has changed; None where that is not known: GitLab's own path filters hold then, too.

    The earlier commit may be gone after a forced push, or there may be more changes than are read.
    """
    before, parted = event.before, event.ref.startswith(MERGE_REQUEST)
    if parted:
        target = await repository.get_head(project, f"{BRANCH}{head.target}")  # by its name it might be a tag
        before = target.commit if target is not None else None
    if before is None:
        return None
    try:
        return await repository.compare(project, before, event.commit, parted=parted)
    except AnswerTooSlow:
        raise
    except (GitLabNotFound, AnswerTooLarge):
        return None


async def _get_files(
    repository: Repository, spec: BuildTriggerSpec, event: RecordedEvent
) -> dict[str, bytes] | Problem:
    """Read the files with manifests; a problem for too many, or too much in them."""
    try:
        return await _read_files(repository, spec, event)
    except AnswerTooSlow:
        raise
    except AnswerTooLarge as error:
        return Problem("InvalidManifest", f"a file, or a list of files, is too large: {error.message}")
    except GitLabRejected as error:
        return Problem("InvalidManifest", error.message)


async def _read_files(repository: Repository, spec: BuildTriggerSpec, event: RecordedEvent) -> dict[str, bytes]:
    """Read the files with manifests; raises GitLabRejected for too many, or too much in them."""
    project, commit, paths = get_project(spec, event), event.commit, set[str]()
    for pattern in spec.manifests:
        if is_plain(pattern):
            paths.add(pattern)
            continue
        matcher = PathMatcher([pattern])
        listed = await repository.list_files(project, get_folder(pattern), commit)
        paths.update(path for path in listed if matcher.matches(path))
    if len(paths) > MOST_FILES:
        raise GitLabRejected(f"spec.manifests fit {len(paths)} files, more than {MOST_FILES}")
    found: dict[str, bytes] = {}
    for path in sorted(paths):
        content = await repository.get_file(project, path, commit)
        if content is not None:
            found[path] = content
        if sum(map(len, found.values())) > MOST_BYTES:
            raise GitLabRejected(f"the files that spec.manifests fit are longer than {MOST_BYTES} bytes together")
    return found
