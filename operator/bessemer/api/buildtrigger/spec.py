"""The spec of a BuildTrigger, as users write it.

The docstring of a field is its description in the CRD, and so its text in ``kubectl explain``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from bessemer.api.base import ATOMIC_LIST, ApiModel, SpecModel, cel, list_map
from bessemer.api.buildtrigger.allow import Allow
from bessemer.api.buildtrigger.report import Report
from bessemer.api.buildtrigger.rules import MAX_RULES, PathPattern, Rule, check_patterns
from bessemer.api.fields import FreeForm
from bessemer.api.gitlab import PATH_PATTERN, PROJECT_PATTERN, GitLabEndpoint
from bessemer.api.references import SecretReference

MOST_MANIFESTS = 16


class TriggerConnection(GitLabEndpoint):
    """The project in GitLab whose events and files count, or a group of which all projects' count."""

    model_config = ConfigDict(
        json_schema_extra=cel(("has(self.project) != has(self.group)", "exactly one of project and group is required"))
    )

    project: str | None = Field(default=None, pattern=PROJECT_PATTERN, max_length=1024)
    """Full path of the project, such as hpc/clusters."""
    group: str | None = Field(default=None, pattern=PATH_PATTERN, max_length=1024)
    """Full path of a group, such as hpc: its projects count, and those of the groups below it. Branches and tags of at
    most 100 of them are compared, without archived ones."""
    api_token_secret: SecretReference
    """The Secret with an access token of GitLab. It needs the scope api and the role Developer in the project or group;
    where report has everything switched off, read_api and Reporter are enough. With the role Maintainer in the project,
    or Owner of the group, GitLab is also asked for events that it could not deliver."""
    poll_seconds: int = Field(default=600, ge=60, le=86400)
    """Interval in seconds at which the branches and tags of the project are compared with the events that have arrived.
    At the same interval, GitLab is asked for webhooks that it could not deliver.
    So an event that was lost, or for which GitLab sends no webhook, is made good."""
    webhook_secret: SecretReference | None = None
    """The Secret with the secret token or the signing token of GitLab's webhook for push and tag events. The path of
    the webhook's URL is in status.webhookPath."""


class Concurrency(StrEnum):
    """What happens to an event while the same cluster is being built for an earlier one."""

    FORBID = "Forbid"
    QUEUE = "Queue"
    REPLACE = "Replace"


class Prune(StrEnum):
    """What happens to a ClusterBuild whose manifest was removed from the repository."""

    KEEP = "Keep"
    DELETE = "Delete"


class OnDelete(StrEnum):
    """What happens to the ClusterBuilds when the trigger is deleted."""

    KEEP = "Keep"
    DELETE = "Delete"


class History(ApiModel):
    """How long finished events are kept."""

    limit: int = Field(default=20, ge=1, le=200)
    """Maximum number of finished events that are kept."""
    ttl_seconds: int = Field(default=604800, ge=3600, le=31536000)
    """Seconds after which a finished event is deleted. GitLab can send an event again within a week; after the event is
    deleted, it would be handled like a new one."""


class BuildTriggerSpec(SpecModel):
    """From which events of which projects ClusterBuilds are made, and what these may contain."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "has(self.gitlab.group) || !self.rules.exists(r, has(r.projects) && size(r.projects) > 0)",
                "projects of a rule have an effect only where gitlab.group is given",
            )
        )
    )

    gitlab: TriggerConnection
    """The project in GitLab, or the group."""
    rules: list[Rule] = Field(min_length=1, max_length=MAX_RULES, json_schema_extra=list_map("name"))
    """The events that lead to builds. The first rule that fits an event counts. All rules together may have 256 names
    and patterns of refs and environments, and as many * in them; with manifests, their paths may have 32768 characters,
    counted as often as braces repeat them. (The field is not called "on", which
    YAML 1.1 reads as true.)"""
    manifests: list[PathPattern] = Field(min_length=1, max_length=MOST_MANIFESTS, json_schema_extra=ATOMIC_LIST)
    """Files with ClusterBuilds, read from the repository at the commit of the event: paths, or patterns with *, **, ?,
    [...] and {a,b}. A file may have several YAML documents."""
    overrides: FreeForm = Field(default_factory=dict)
    """JSON merge patch (RFC 7386) that is applied to the spec of each ClusterBuild from the repository, for what
    differs between environments."""
    allow: Allow = Allow()
    """What manifests may name; nothing else is allowed."""
    concurrency: Concurrency = Concurrency.QUEUE
    """What happens to an event while a cluster that it would change is being built for an earlier one. Forbid refuses
    the event, Queue lets it wait, Replace aborts the earlier build first."""
    prune: Prune = Prune.KEEP
    """What happens to a ClusterBuild of this trigger whose manifest is no longer in the repository: Keep or Delete."""
    on_delete: OnDelete = OnDelete.KEEP
    """What happens to the ClusterBuilds of this trigger when it is deleted: Keep or Delete."""
    report: Report = Report()
    """What GitLab is told of events and their builds. It never holds up a build."""
    suspend: bool = False
    """If true, events are recorded, but not acted upon until this is false again."""
    history: History = History()
    """How long finished events are kept."""

    @model_validator(mode="before")
    @classmethod
    def _check_patterns(cls, raw: Any) -> Any:
        """Refuse too many patterns before any is read or used, since both take time for each."""
        check_patterns(raw)
        return raw
