"""Which events of GitLab a BuildTrigger acts upon, as users write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from bessemer.api.base import ATOMIC_LIST, ApiModel, cel
from bessemer.api.buildtrigger.patterns import MOST_CHARACTERS, check_pattern, count_characters
from bessemer.api.fields import DnsLabel

MAX_RULES = 32
MOST_PATTERNS = 32
MOST_REF_PATTERNS = 256
"""Maximum number of names and wildcards for refs and environments in all rules of a trigger, and of * in them: each of
hundreds of branches and tags is compared with all of them."""
RefPattern = Annotated[str, Field(pattern=r"^[!-)+-~*]+$", min_length=1, max_length=255)]
"""The name of a branch or tag, or a wildcard as in GitLab: * stands for any text, also with a slash."""


ProjectPattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.*/-]+$", min_length=1, max_length=255)]
"""The full path of a project; * stands for any text, also with a slash."""


def _check_pattern(pattern: str) -> str:
    check_pattern(pattern)
    return pattern


PathPattern = Annotated[
    str,
    AfterValidator(_check_pattern),
    Field(
        pattern=r"^[^/\s\\][^\s\\]*$",
        min_length=1,
        max_length=255,
        json_schema_extra=cel(("!self.matches('(^|/)[.][.]?(/|$)')", "must not contain the steps . and ..")),
    ),
]
"""Path of a file in the repository, or a pattern: *, **, ?, [...] and {a,b} as in rules:changes of GitLab."""


class Mode(StrEnum):
    """What an event leads to."""

    BUILD = "Build"
    PLAN = "Plan"


class Push(ApiModel):
    """Commits pushed to a branch."""

    branches: list[RefPattern] = Field(min_length=1, max_length=MOST_PATTERNS, json_schema_extra=ATOMIC_LIST)
    """Names of branches. A * stands for any text, also with a slash, as in GitLab's own wildcards."""
    protected_only: bool = True
    """Whether the branch must be protected in GitLab. If false, everyone who may push to the branch can start
    builds, within allow."""


class Tag(ApiModel):
    """A new tag."""

    tags: list[RefPattern] = Field(min_length=1, max_length=MOST_PATTERNS, json_schema_extra=ATOMIC_LIST)
    """Names of tags, with * as for branches."""
    protected_only: bool = True
    """Whether the tag must be protected in GitLab."""


class JobProof(StrEnum):
    """How a job proves who it is."""

    ID_TOKEN = "IdToken"  # noqa: S105  a word
    JOB_TOKEN = "JobToken"  # noqa: S105  a word


class Job(ApiModel):
    """A job of a pipeline that asks for a build of its commit."""

    refs: list[RefPattern] = Field(min_length=1, max_length=MOST_PATTERNS, json_schema_extra=ATOMIC_LIST)
    """Names of branches and tags, with * as for branches."""
    merge_requests: bool = False
    """Whether jobs of the pipelines of merge requests to the branches in refs may ask as well, for the latest commit of
    the merge request. Never for one from a fork; where protectedOnly is true, its source branch must be protected.
    Pipelines for merged results and child pipelines can't ask."""
    protected_only: bool = True
    """Whether the branch or tag must be protected in GitLab. If false, everyone who may start a pipeline for it can
    start builds, within allow."""
    environments: list[RefPattern] = Field(
        default_factory=list, max_length=MOST_PATTERNS, json_schema_extra=ATOMIC_LIST
    )
    """Names of environments of GitLab, with * as for branches; the job must have one of them, proven by its ID token.
    Default: a job needs no environment."""
    proofs: list[JobProof] = Field(
        default_factory=lambda: [JobProof.ID_TOKEN], min_length=1, max_length=2, json_schema_extra=ATOMIC_LIST
    )
    """How the job may prove who it is: IdToken (id_tokens in the job) or JobToken (CI_JOB_TOKEN). GitLab says less of
    a job token, and each use of one costs a request to GitLab. Default: IdToken."""
    audience: str = Field(default="bessemer", pattern="^[!-~]+$", max_length=255)
    """The audience that the job's ID token must have, as in id_tokens of the job."""


class MergeRequest(ApiModel):
    """A merge request that is opened, reopened, or gets new commits."""

    target_branches: list[RefPattern] = Field(min_length=1, max_length=MOST_PATTERNS, json_schema_extra=ATOMIC_LIST)
    """Names of the branches that it goes to, with * as for branches. Merge requests from forks never count; a member
    can have them built by a comment."""
    drafts: bool = False
    """Whether drafts count as well."""
    protected_only: bool = True
    """Whether the source branch must be protected for mode Build. Mode Plan touches no machine, and needs no protected
    branch."""


class Pipeline(ApiModel):
    """A pipeline of a branch or tag that has succeeded. Pipelines that other programs report do not count."""

    refs: list[RefPattern] = Field(min_length=1, max_length=MOST_PATTERNS, json_schema_extra=ATOMIC_LIST)
    """Names of branches and tags, with * as for branches."""
    protected_only: bool = True
    """Whether the branch or tag must be protected in GitLab."""


class AccessLevel(StrEnum):
    """The role of a member of the project, its groups included."""

    DEVELOPER = "Developer"
    MAINTAINER = "Maintainer"
    OWNER = "Owner"


class Command(StrEnum):
    """What a comment asks for."""

    BUILD = "build"
    RETRY = "retry"
    ABORT = "abort"
    PLAN = "plan"


class Comment(ApiModel):
    """A comment on a merge request whose first line is "/bessemer build", "/bessemer retry", "/bessemer abort" or
    "/bessemer plan". It is about the commit that is the merge request's latest when the comment is written."""

    commands: list[Command] = Field(
        default_factory=lambda: list(Command), min_length=1, max_length=4, json_schema_extra=ATOMIC_LIST
    )
    """The commands that the rule is for: build; retry, which builds what has failed at this commit again; abort, which
    ends the builds of the merge request, also of earlier commits; plan. So several rules can ask for a role for each.
    Default: all."""
    access_level: AccessLevel = AccessLevel.MAINTAINER
    """The role that the comment's author must have at least."""
    forks: bool = False
    """Whether comments on merge requests from forks count. A member then decides with each comment that this very
    commit may be built."""


class Rule(ApiModel):
    """One kind of event and what it leads to."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "[has(self.push), has(self.tag), has(self.job), has(self.mergeRequest), has(self.pipeline), "
                "has(self.comment)].filter(given, given).size() == 1",
                "exactly one of push, tag, job, mergeRequest, pipeline and comment is required",
            ),
            (
                "!has(self.comment) || (self.mode == 'Build' && (!has(self.paths) || size(self.paths) == 0))",
                "mode and paths have no effect on comments: the comment says what it wants",
            ),
        )
    )

    name: DnsLabel
    """Name of the rule, shown in the status and in GitLab."""
    push: Push | None = None
    """The rule is for pushes to branches."""
    tag: Tag | None = None
    """The rule is for new tags."""
    job: Job | None = None
    """The rule is for jobs that ask for a build themselves, such as a manual job: the button."""
    merge_request: MergeRequest | None = None
    """The rule is for merge requests."""
    pipeline: Pipeline | None = None
    """The rule is for pipelines that have succeeded."""
    comment: Comment | None = None
    """The rule is for comments on merge requests."""
    projects: list[ProjectPattern] = Field(
        default_factory=list, max_length=MOST_PATTERNS, json_schema_extra=ATOMIC_LIST
    )
    """Full paths of projects of the group to which the rule is limited, with * for any text, also with a slash, such as
    hpc/site-*. Case does not matter. Default: all projects of the group."""
    paths: list[PathPattern] = Field(default_factory=list, max_length=MOST_PATTERNS, json_schema_extra=ATOMIC_LIST)
    """The rule holds only if one of these files has changed: paths or patterns as in rules:changes of GitLab, where **
    stands for any number of folders. For a new branch and for a tag there is no list of changed files, and the rule
    holds, as in GitLab. Default: all files."""
    mode: Mode = Mode.BUILD
    """Build creates or changes the ClusterBuilds of the manifests. Plan only checks the manifests, and reports what
    would be done."""


def check_patterns(raw: Any) -> None:
    """Raise ValueError for more patterns in a spec, which was not validated yet, than can be used in a short time."""
    spec = raw if isinstance(raw, Mapping) else {}
    rules = [rule for rule in _get_list(spec.get("rules")) if isinstance(rule, Mapping)]
    number = stars = characters = 0
    for pattern in (text for rule in rules for text in _iterate_ref_patterns(rule)):
        number, stars = number + 1, stars + pattern.count("*")
        if max(number, stars) > MOST_REF_PATTERNS:
            text = (
                "all rules together must not have more names and wildcards of refs and environments, or more * in them,"
            )
            raise ValueError(f"rules: {text} than {MOST_REF_PATTERNS}")
    for listed in (*(rule.get("paths") for rule in rules), spec.get("manifests")):
        for pattern in _get_list(listed):
            characters += count_characters(pattern) if isinstance(pattern, str) else 0
            if characters > MOST_CHARACTERS:
                text = "with what their braces repeat, all patterns together must have at most"
                raise ValueError(f"rules[].paths and manifests: {text} {MOST_CHARACTERS} characters")


def _iterate_ref_patterns(rule: Mapping[str, Any]) -> Iterator[str]:
    """Iterate over the texts in the lists of a rule's events."""
    for about in rule.values():
        for listed in about.values() if isinstance(about, Mapping) else ():
            yield from (text for text in _get_list(listed) if isinstance(text, str))


def _get_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
