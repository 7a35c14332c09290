"""What a BuildTrigger reports to GitLab, as users write it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from bessemer.api.base import ApiModel

PLACEHOLDERS = ("namespace", "trigger", "cluster", "phase", "commit")
_FIELD = rf"\{{({'|'.join(PLACEHOLDERS)})\}}"
_TARGET_URL = rf"^https?://([!-z|~]|{_FIELD})+$"
_ENVIRONMENT = r"^([A-Za-z0-9_./ -]|\{(namespace|trigger|cluster)\})+$"


class StatusReports(StrEnum):
    """Whether statuses of commits are set."""

    OFF = "Off"
    PHASES = "Phases"


class NoteReports(StrEnum):
    """What is written on merge requests."""

    OFF = "Off"
    NOTE = "Note"
    DISCUSSION = "Discussion"


class Report(ApiModel):
    """What GitLab is told. The access token then needs the scope api and the role Developer; for protected branches and
    tags, of a user who may merge or push there."""

    statuses: StatusReports = StatusReports.PHASES
    """Phases sets statuses of the commit: bessemer/TRIGGER for the whole event, and bessemer/CLUSTER/PHASE for each
    phase that has begun. Off sets none."""
    target_url: Annotated[str, Field(pattern=_TARGET_URL, max_length=255)] | None = None
    """The address that a status links to, in which {namespace}, {trigger}, {cluster}, {phase} and {commit} stand for
    what their names say. An address that would be longer than 255 characters is left out. Default: no link."""
    merge_requests: NoteReports = NoteReports.NOTE
    """What is written on the merge requests of a commit: Note keeps one note up to date, Discussion begins a discussion
    with it, which is resolved when the clusters are ready. Off writes nothing."""
    environment: Annotated[str, Field(pattern=_ENVIRONMENT, max_length=128)] | None = None
    """Name of the environment in GitLab, in which {namespace}, {trigger} and {cluster} stand for what their names say,
    such as {cluster}. Each build is then a deployment to it. Default: no deployments."""
