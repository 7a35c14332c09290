"""A pool's requests to GitLab: the scope and traits of its jobs, and the settings of its runner. Pure."""

from __future__ import annotations

import hashlib

from bessemer.api.references import ScopeType
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import AccessLevel, GitLabConnection, ManagedRunner, RunnerPoolSpec
from bessemer.gitlab.jobs import RunnerTraits, make_names
from bessemer.gitlab.protocol import RunnerRequest, Scope
from bessemer.kinds.runnerpool.demand.interest import Interest, Polls, SourceKey
from bessemer.kinds.runnerpool.runner.access import Access


def build_scope(gitlab: GitLabConnection) -> Scope:
    """Return the scope of a pool's runner."""
    return Scope(gitlab.scope.type, gitlab.scope.path or "")


def build_traits(spec: RunnerPoolSpec) -> RunnerTraits:
    """Return the properties that decide which jobs the pool's runner gets."""
    return RunnerTraits(
        scope=build_scope(spec.gitlab),
        tags=make_names(spec.runner.tags),
        run_untagged=spec.runner.run_untagged,
        protected=spec.runner.access_level is AccessLevel.REF_PROTECTED,
    )


def build_polls(spec: RunnerPoolSpec, access: Access) -> Polls | None:
    """Return the polls for a pool's jobs; None without an access token."""
    if access.api_token is None:
        return None
    source = SourceKey(spec.gitlab.url, build_scope(spec.gitlab), _digest(access.api_token), _digest(access.ca or ""))
    expects = spec.gitlab.webhook_secret is not None
    return Polls(source, Interest(build_traits(spec), spec.gitlab.poll_seconds, webhook=expects))


def build_request(pool: RunnerPool, spec: RunnerPoolSpec, managed: ManagedRunner) -> RunnerRequest:
    """Return the settings in GitLab of a pool's managed runner."""
    return RunnerRequest(
        scope=build_scope(spec.gitlab),
        description=managed.description or f"{pool.namespace}/{pool.name}",
        marker=pool.uid,
        tags=frozenset(spec.runner.tags),
        run_untagged=spec.runner.run_untagged,
        protected=spec.runner.access_level is AccessLevel.REF_PROTECTED,
        locked=managed.locked,
        maximum_timeout=spec.runner.maximum_timeout_seconds,
    )


def digest_request(request: RunnerRequest) -> str:
    """Return a digest that changes with the request."""
    return _digest(repr(request))


def describe_request(request: RunnerRequest) -> str:
    """Return a runner's settings in one line, for plans, logs and events."""
    parts = [f'"{request.description}"', f"tags {', '.join(sorted(request.tags))}" if request.tags else "no tags"]
    parts.append("untagged jobs too" if request.run_untagged else "tagged jobs only")
    parts += ["protected refs only"] if request.protected else []
    parts += ["locked"] if request.locked and request.scope.type is ScopeType.PROJECT else []
    parts += [f"at most {request.maximum_timeout} s a job"] if request.maximum_timeout is not None else []
    return ", ".join(parts)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
