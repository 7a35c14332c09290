"""The real client for statuses, notes and deployments: each call is one or a few requests, and none is repeated."""

from __future__ import annotations

from bessemer.gitlab import deployments, notes, statuses
from bessemer.gitlab.client import run_call
from bessemer.gitlab.reports import CommitStatus, Deployment, MergeRequest, NewDeployment, NewStatus, Note, Target
from bessemer.gitlab.transport import Transport


class ReportClient:
    """What becomes of commits, in one GitLab, by its REST API."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._user: int | None = None
        """Number of the access token's user, once it is known; a client has one token."""

    async def list_statuses(self, target: Target, prefix: str) -> list[CommitStatus]:
        """List the current external statuses whose names begin with the prefix."""
        return await run_call(statuses.list_statuses(self._transport, target, prefix))

    async def set_status(self, target: Target, status: NewStatus) -> CommitStatus:
        """Report a status; return what GitLab has afterwards."""
        return await run_call(statuses.set_status(self._transport, target, status))

    async def list_merge_requests(self, project: str, commit: str) -> list[MergeRequest]:
        """List the merge requests whose head or result a commit is."""
        return await run_call(notes.list_merge_requests(self._transport, project, commit))

    async def get_merge_request(self, project: str, iid: int) -> MergeRequest:
        """Return a merge request."""
        return await run_call(notes.get_merge_request(self._transport, project, iid))

    async def find_note(self, project: str, iid: int, marker: str) -> Note | None:
        """Return the first note of the access token's user that contains the marker."""

        async def find() -> Note | None:
            return await notes.find_note(self._transport, project, iid, marker, await self._get_user())

        return await run_call(find())

    async def create_note(self, project: str, iid: int, body: str, *, discussion: bool) -> Note:
        """Write a note."""
        return await run_call(notes.create_note(self._transport, project, iid, body, discussion=discussion))

    async def update_note(self, project: str, iid: int, note: int, body: str) -> None:
        """Replace the text of a note."""
        await run_call(notes.update_note(self._transport, project, iid, note, body))

    async def resolve_discussion(self, project: str, iid: int, discussion: str, *, resolved: bool) -> None:
        """Resolve a discussion, or open it again."""
        await run_call(notes.resolve_discussion(self._transport, project, iid, discussion, resolved=resolved))

    async def find_deployment(self, project: str, environment: str, commit: str) -> Deployment | None:
        """Return the latest deployment of a commit to an environment by the access token's user."""

        async def find() -> Deployment | None:
            user = await self._get_user()
            return await deployments.find_deployment(self._transport, project, environment, commit, user)

        return await run_call(find())

    async def create_deployment(self, project: str, deployment: NewDeployment) -> Deployment:
        """Create a deployment."""
        return await run_call(deployments.create_deployment(self._transport, project, deployment))

    async def update_deployment(self, project: str, number: int, state: str) -> None:
        """Change the state of a deployment."""
        await run_call(deployments.update_deployment(self._transport, project, number, state))

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def _get_user(self) -> int:
        if self._user is None:
            self._user = await notes.get_user(self._transport)
        return self._user
