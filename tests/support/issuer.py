"""A GitLab as the issuer of ID tokens and job tokens: keys, discovery, ``GET /job``; served on the loopback."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from yarl import URL

from bessemer.gitlab.answers import Answer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
AUDIENCE = "https://bessemer.example.org"
CLAIMS = {
    "namespace_id": "72",
    "namespace_path": "hpc",
    "project_id": "20",
    "project_path": "hpc/clusters",
    "user_login": "sample",
    "user_access_level": "maintainer",
    "pipeline_id": "574",
    "pipeline_source": "web",
    "job_id": "302",
    "ref": "main",
    "ref_type": "branch",
    "ref_path": "refs/heads/main",
    "ref_protected": "true",
    "runner_id": 1,
    "runner_environment": "self-hosted",
    "sha": COMMIT,
    "environment": "oxygen",
    "environment_protected": "false",
    "sub": "project_path:hpc/clusters:ref_type:branch:ref:main",
}
"""Source: https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload"""


@functools.cache
def make_key(name: str, maker: str = "gitlab") -> RSAKey:
    """Return the key of this name; each maker has another one."""
    del maker
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"})


@dataclass
class Issuer:
    """What a GitLab issues, and what it has been asked."""

    name: str = "https://gitlab.example.org"
    keys: dict[str, RSAKey | ECKey] = field(default_factory=lambda: {"one": make_key("one")})
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Answers of GET /job by job token."""
    requests: list[str] = field(default_factory=list)
    broken: bool = False
    """Whether everything is answered with 502."""

    def issue(self, now: datetime, *, key: RSAKey | ECKey | OctKey | None = None, **claims: object) -> str:
        """Sign a token; claims of None are left out."""
        at = int(now.timestamp())
        times = {"iat": at, "nbf": at - 5, "exp": at + 300}
        body = CLAIMS | {"iss": self.name, "aud": AUDIENCE, "jti": "7"} | times | claims
        signer = key or next(iter(self.keys.values()))
        return sign(signer, {name: value for name, value in body.items() if value is not None})

    def publish(self) -> dict[str, Any]:
        """Return the JSON Web Key Set."""
        return {"keys": [key.as_dict(private=False) | {"kid": name} for name, key in self.keys.items()]}

    def answer(self, path: str, job_token: str) -> tuple[int, Any]:
        """Return status and body of the answer to a request."""
        self.requests.append(path)
        if self.broken:
            return 502, None
        if path == "/.well-known/openid-configuration":
            return 200, {"issuer": self.name, "jwks_uri": f"{self.name}/oauth/discovery/keys"}
        if path == "/oauth/discovery/keys":
            return 200, self.publish()
        job = self.jobs.get(job_token)
        return (200, job) if path == "/api/v4/job" and job is not None else (401, {"message": "401 Unauthorized"})

    def start_job(self, token: str, **changes: object) -> None:
        """Let a job token be that of a running job."""
        self.jobs[token] = {
            "id": 302,
            "status": "running",
            "name": "cluster",
            "ref": "main",
            "tag": False,
            "user": {"id": 1, "username": "sample"},
            "commit": {"id": COMMIT},
            "pipeline": {"id": 574, "project_id": 20, "ref": "main", "sha": COMMIT, "status": "running"},
        } | changes


def sign(key: RSAKey | ECKey | OctKey, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
    algorithm = {"RSA": "RS256", "EC": "ES256", "oct": "HS256"}[key.key_type]
    full: dict[str, Any] = {"alg": algorithm, "typ": "JWT", "kid": key.kid} | dict(header or {})
    return jwt.encode(full, dict(claims), key, [algorithm])


@dataclass
class IssuerTransport:
    """The way to an issuer without a network."""

    issuer: Issuer
    base: URL = field(default_factory=lambda: URL("http://gitlab.example"))

    async def fetch_public(self, path: str) -> Answer:
        """Return what the issuer publishes."""
        return self._answer(path, "")

    async def fetch_as_job(self, path: str, job_token: str) -> Answer:
        """Return the answer to a job."""
        return self._answer(f"/api/v4{path}", job_token)

    async def close(self) -> None:
        """Close nothing."""

    def _answer(self, path: str, job_token: str) -> Answer:
        status, data = self.issuer.answer(path, job_token)
        return Answer(status, {}, data)


@asynccontextmanager
async def serve_issuer(issuer: Issuer) -> AsyncIterator[str]:
    """Serve an issuer; yields its URL, which is not its name."""

    async def handle(request: web.Request) -> web.Response:
        status, data = issuer.answer(request.path, request.headers.get("JOB-TOKEN", ""))
        return web.json_response(data, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")
