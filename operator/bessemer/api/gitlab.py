"""How an object names its GitLab; shared by the kinds that have one."""

from __future__ import annotations

from bessemer.api.base import ApiModel
from bessemer.api.fields import GitLabUrl
from bessemer.api.references import SecretReference

PATH_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[.]?[A-Za-z0-9_][A-Za-z0-9_.-]*)*$"
"""Full path of a group or project."""
PROJECT_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[.]?[A-Za-z0-9_][A-Za-z0-9_.-]*)+$"
"""Full path of a project, which includes its group or user."""


class GitLabEndpoint(ApiModel):
    """One GitLab."""

    url: GitLabUrl
    """URL of GitLab, as seen from pods."""
    ca_secret: SecretReference | None = None
    """The Secret with a PEM bundle of certificate authorities to verify GitLab's certificate. Defaults to the
    certificate authorities in the images."""
