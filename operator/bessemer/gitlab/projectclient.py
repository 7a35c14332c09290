"""All that is asked of one GitLab about projects: by several clients, over one transport."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.gitlab.hookclient import HookLogClient
from bessemer.gitlab.hooklog import HookLog
from bessemer.gitlab.protocol import Repository
from bessemer.gitlab.reporter import ReportClient
from bessemer.gitlab.reports import Reports
from bessemer.gitlab.repository import RepositoryClient
from bessemer.gitlab.transport import Transport


@dataclass(frozen=True)
class ProjectClient:
    """One GitLab with one access token: its connections are bounded together, and closed together."""

    repository: Repository
    reports: Reports
    hooks: HookLog

    async def close(self) -> None:
        """Close all connections; the clients may share them."""
        for client in (self.repository, self.reports, self.hooks):
            await client.close()


def build_project_client(transport: Transport) -> ProjectClient:
    """Return the clients of one transport."""
    return ProjectClient(RepositoryClient(transport), ReportClient(transport), HookLogClient(transport))
