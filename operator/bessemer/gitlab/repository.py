"""The client for a project's repository: where branches and tags point, and files at a commit.

Sources: https://docs.gitlab.com/api/branches/, https://docs.gitlab.com/api/tags/,
https://docs.gitlab.com/api/repository_files/, https://docs.gitlab.com/api/repositories/
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from bessemer.foreign import Unreadable, make_line, make_text, parse_int
from bessemer.gitlab.answers import AnswerTooLarge
from bessemer.gitlab.client import read_expiry, run_call
from bessemer.gitlab.events import BRANCH, MERGE_REQUEST, TAG, is_commit, is_name
from bessemer.gitlab.jobs import parse_list, parse_object, parse_path
from bessemer.gitlab.notes import get_user, read_comment
from bessemer.gitlab.pages import PAGE_SIZE, Effort, iterate_pages
from bessemer.gitlab.protocol import Changes, Comment, GitLabNotFound, GitLabRejected, Head, Job
from bessemer.gitlab.transport import Transport

MOST_FILE_BYTES = 256 << 10
"""Maximum size of a manifest; one of a thousand nodes has 60 KB."""
MOST_FILES = 10_000
"""Maximum number of files that a list of a folder has."""
MOST_PROJECTS = 200
"""Of a group, that are listed."""
MOST_REFS = 500
"""Of branches, and of tags, that are listed."""
MESSAGE_CHARACTERS = 16_384
"""Of a commit's message that are kept; [skip ci] stands in its title, as a rule."""


class RepositoryClient:
    """The repository of one GitLab's projects, by REST."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._user: int | None = None
        """Number of the access token's user, once it is known; a client has one token."""

    async def get_head(self, project: str, ref: str) -> Head | None:
        """Return where a branch, tag or merge request points; None if it does not exist. The project must exist."""
        if ref.startswith(MERGE_REQUEST):
            return await run_call(
                self._get_merge_request(project, ref.removeprefix(MERGE_REQUEST).removesuffix("/head"))
            )
        kind, name = ("branches", ref.removeprefix(BRANCH)) if ref.startswith(BRANCH) else ("tags", ref[len(TAG) :])

        async def read() -> Head | None:
            try:
                raw = parse_object(await self._get(f"{_path(project)}/{kind}/{quote(name, safe='')}"))
            except GitLabNotFound:
                # 404 is also what a token is told that may not see the project.
                parse_object(await self._get(f"/projects/{quote(project, safe='')}"))
                return None
            return _parse_head(raw)

        return await run_call(read())

    async def get_access_level(self, project: str, user_id: int) -> int:
        """Return the role of a user in a project; 0 for no member, and for one who is blocked or awaits approval."""

        async def read() -> int:
            try:
                raw = parse_object(await self._get(f"/projects/{quote(project, safe='')}/members/all/{user_id}"))
            except GitLabNotFound:
                return 0
            active = raw.get("state") in ("active", None) and raw.get("membership_state") in ("active", None)
            return parse_int(raw.get("access_level")) if active else 0

        return await run_call(read())

    async def get_comment(self, project: str, ref: str, number: int) -> Comment | None:
        """Return a comment on a merge request; None if it is not there."""
        iid = parse_int(ref.removeprefix(MERGE_REQUEST).removesuffix("/head"), least=1)

        async def read() -> Comment | None:
            try:
                return await read_comment(self._transport, project, iid, number)
            except GitLabNotFound:
                parse_object(await self._get(f"/projects/{quote(project, safe='')}"))
                return None

        return await run_call(read())

    async def get_user_id(self) -> int:
        """Return the number of the access token's user; it is asked for once."""
        if self._user is None:
            self._user = await run_call(get_user(self._transport))
        return self._user

    async def list_heads(self, project: str) -> dict[str, Head]:
        """Return where branches and tags point, by their full names; of very many only the first pages.

        Raises AnswerTooLarge where some can't be read, because commits have messages without end.
        """

        async def read() -> dict[str, Head]:
            branches, tags = await self._list_refs(project, "branches"), await self._list_refs(project, "tags")
            return {f"{BRANCH}{name}": head for name, head in branches.items()} | {
                f"{TAG}{name}": head for name, head in tags.items()
            }

        return await run_call(read())

    async def get_file(self, project: str, path: str, commit: str) -> bytes | None:
        """Return the content of a file at a commit; None if there is no such file.

        Raises GitLabRejected for a file that is too large.
        """

        async def read() -> bytes | None:
            try:
                raw = parse_object(await self._get(f"{_path(project)}/files/{quote(path, safe='')}", {"ref": commit}))
            except GitLabNotFound:
                parse_object(await self._get(f"{_path(project)}/commits/{commit}"))
                return None
            try:
                content = base64.b64decode(str(raw.get("content") or ""), validate=False)
            except (binascii.Error, ValueError):
                raise Unreadable("a file that is not in base64") from None
            if len(content) > MOST_FILE_BYTES:
                raise GitLabRejected(f"{path} is longer than {MOST_FILE_BYTES} bytes")
            return content

        return await run_call(read())

    async def list_files(self, project: str, folder: str, commit: str) -> list[str]:
        """List the paths of all files below a folder at a commit; an empty list if there is no such folder.

        Raises GitLabRejected for more than MOST_FILES.
        """

        async def read() -> list[str]:
            found: list[str] = []
            try:
                async for page in self._iterate_tree(project, folder, commit):
                    found += [path for path in page if path is not None]
                    if len(found) > MOST_FILES:
                        raise GitLabRejected(f"{folder or 'the repository'} has more than {MOST_FILES} files")
            except GitLabNotFound:
                parse_object(await self._get(f"{_path(project)}/commits/{commit}"))
                return []
            return found

        return await run_call(read())

    async def compare(self, project: str, before: str, after: str, *, parted: bool = False) -> Changes:
        """Return which files differ between two commits, or between the later one and where they part."""
        query = {"from": before, "to": after, "straight": "false" if parted else "true"}

        async def read() -> Changes:
            raw = parse_object(await self._get(f"{_path(project)}/compare", query))
            diffs = parse_list(raw.get("diffs") or [])
            paths = frozenset(
                str(path)
                for diff in map(parse_object, diffs)
                for path in (diff.get("old_path"), diff.get("new_path"))
                if isinstance(path, str)
            )
            # GitLab cuts the list at its limits and says only that it took too long.
            return Changes(paths, complete=raw.get("compare_timeout") is not True and raw.get("overflow") is not True)

        return await run_call(read())

    async def get_project_id(self, project: str) -> int:
        """Return the number of a project."""

        async def read() -> int:
            return parse_int(parse_object(await self._get(f"/projects/{quote(project, safe='')}")).get("id"), least=1)

        return await run_call(read())

    async def get_project_path(self, number: int) -> str | None:
        """Return the full path of a project."""

        async def read() -> str | None:
            try:
                return parse_path(parse_object(await self._get(f"/projects/{number}")).get("path_with_namespace"))
            except GitLabNotFound:
                return None

        return await run_call(read())

    async def list_projects(self, group: str) -> list[str]:
        """List the projects of a group. Source: https://docs.gitlab.com/api/groups/#list-projects"""
        query = {"include_subgroups": "true", "archived": "false", "with_shared": "false", "simple": "true"}

        async def read() -> list[str]:
            found: list[str] = []
            path = f"/groups/{quote(group, safe='')}/projects"
            async for page, last in iterate_pages(
                self._transport, path, {**query, "order_by": "id", "sort": "asc"}, Effort()
            ):
                found += [parse_path(parse_object(one).get("path_with_namespace")) for one in page]
                if last or len(found) >= MOST_PROJECTS:
                    break
            return found

        return await run_call(read())

    async def get_job(self, project: str, job_id: int) -> Job | None:
        """Return a job; None if there is no such job. Source: https://docs.gitlab.com/api/jobs/"""

        async def read() -> Job | None:
            place = f"/projects/{quote(project, safe='')}"
            try:
                raw = parse_object(await self._get(f"{place}/jobs/{job_id}"))
            except GitLabNotFound:
                parse_object(await self._get(place))
                return None
            return Job(make_line(str(raw.get("status") or ""), 32), _parse_job_ref(raw))

        return await run_call(read())

    async def get_expiry(self) -> datetime | None:
        """Return when the access token ends; None where it does not, or GitLab does not say."""

        return await run_call(read_expiry(self._transport))

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def _list_refs(self, project: str, kind: str) -> dict[str, Head]:
        found: dict[str, Head] = {}
        async for page, last in iterate_pages(self._transport, f"{_path(project)}/{kind}", {}, Effort()):
            objects = [parse_object(one) for one in page]
            found |= {str(one["name"]): _parse_head(one) for one in objects if is_name(one.get("name"))}
            if last or len(found) >= MOST_REFS:
                return found
        raise AnswerTooLarge(f"the {kind} of {project} can't all be read: their commits have very long messages")

    async def _get_merge_request(self, project: str, number: str) -> Head | None:
        base = f"/projects/{quote(project, safe='')}"
        try:
            raw = parse_object(await self._get(f"{base}/merge_requests/{quote(number, safe='')}"))
        except GitLabNotFound:
            parse_object(await self._get(base))
            return None
        sha, source = raw.get("sha"), raw.get("source_branch")
        if raw.get("state") != "opened" or not is_commit(sha):
            return None
        fork = raw.get("source_project_id") != raw.get("target_project_id")
        branch = await self.get_head(project, f"{BRANCH}{source}") if not fork and is_name(source) else None
        commit = parse_object(await self._get(f"{_path(project)}/commits/{sha}"))
        return Head(
            commit=str(sha),
            protected=branch is not None and branch.protected,
            message=make_text(str(commit.get("message") or ""), MESSAGE_CHARACTERS),
            target=str(raw.get("target_branch") or ""),
            draft=raw.get("draft") is True or raw.get("work_in_progress") is True,
            fork=fork,
        )

    async def _iterate_tree(self, project: str, folder: str, commit: str) -> AsyncIterator[list[str | None]]:
        for number in range(1, MOST_FILES // PAGE_SIZE + 3):
            query = {
                "ref": commit,
                "path": folder,
                "recursive": "true",
                "per_page": str(PAGE_SIZE),
                "page": str(number),
            }
            page = [parse_object(one) for one in parse_list(await self._get(f"{_path(project)}/tree", query))]
            yield [str(one.get("path")) if one.get("type") == "blob" else None for one in page]
            if len(page) < PAGE_SIZE:
                return

    async def _get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return (await self._transport.fetch("GET", path, query=query)).get_data()


def _parse_head(raw: dict[str, Any]) -> Head:
    commit = parse_object(raw.get("commit"))
    if not is_commit(commit.get("id")):
        raise Unreadable("a branch or tag without a commit")
    message = make_text(str(commit.get("message") or ""), MESSAGE_CHARACTERS)
    return Head(str(commit["id"]), raw.get("protected") is True, message)


def _parse_job_ref(raw: dict[str, Any]) -> str:
    """Return the full name of a job's ref; of the pipeline of a merge request, and of its child pipelines, GitLab says
    refs/merge-requests/N/head (or merge), whatever their ID tokens say.
    """
    ref = raw.get("ref")
    if not is_name(ref) or not isinstance(ref, str):
        raise Unreadable("a job without a ref")
    return ref if ref.startswith(MERGE_REQUEST) else f"{TAG if raw.get('tag') is True else BRANCH}{ref}"


def _path(project: str) -> str:
    return f"/projects/{quote(project, safe='')}/repository"
