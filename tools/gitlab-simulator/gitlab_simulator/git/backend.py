"""``git http-backend``, which speaks Git's protocol over HTTP, run as CGI: https://git-scm.com/docs/git-http-backend"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from .folder import Folder, GitError


@dataclass(frozen=True)
class BackendRequest:
    """A request for a repository."""

    method: str
    path: str
    """Below the repository, such as ``/info/refs``."""
    query: str
    content_type: str
    protocol: str
    """The header Git-Protocol, such as ``version=2``."""
    user: str
    body: bytes


@dataclass(frozen=True)
class BackendAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes


async def run_backend(folder: Folder, request: BackendRequest, extra: Mapping[str, str]) -> BackendAnswer:
    """Answer a request; ``extra`` is put into the environment of git and its hooks. Raises GitError."""
    environment = folder.build_environment() | {
        "GIT_PROJECT_ROOT": str(folder.path),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
        "CONTENT_TYPE": request.content_type,
        "CONTENT_LENGTH": str(len(request.body)),
        "GIT_PROTOCOL": request.protocol,
        "REMOTE_USER": request.user,
        **extra,
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "git", "http-backend", env=environment, cwd=folder.path, stdin=pipe, stdout=pipe, stderr=pipe
    )
    output, errors = await process.communicate(request.body)
    head, blank, body = output.partition(b"\r\n\r\n")
    if not blank:
        raise GitError(errors.decode("utf-8", "replace").strip() or f"git http-backend: {process.returncode}")
    fields = (line.partition(": ") for line in head.decode("latin-1").split("\r\n"))
    headers = {name: value for name, _, value in fields}
    return BackendAnswer(int(headers.pop("Status", "200").split()[0]), headers, body)
