"""Reads the user's Secrets that a pool names; writes nothing."""

from __future__ import annotations

from bessemer.api.runnerpool.spec import GitLabConnection, RunnerPoolSpec
from bessemer.engine.gitlabsecrets import CA, find_api_token, find_webhook_secret
from bessemer.engine.secrets import SecretReader
from bessemer.gitlab.credentials import require_token
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.render.config import CA_KEY, list_references
from bessemer.kinds.runnerpool.runner.access import RUNNER_TOKEN, Access, find_destination


async def get_access(deps: PoolDeps, namespace: str, spec: RunnerPoolSpec) -> Access:
    """Read all Secrets that the spec names; errors in them are part of the result. Raises Unavailable."""
    reader = SecretReader(deps.kubernetes, deps.settings, namespace)
    found = {
        key: await reader.find(reference, where, url=find_destination(spec, key))
        for key, (reference, where) in list_references(spec).items()
    }
    api = await find_api_token(reader, spec.gitlab, found.get(CA_KEY))
    return Access(
        api_token=api,
        webhook_secret=await find_webhook_secret(reader, spec.gitlab),
        runner_token=await reader.find(spec.runner.token_secret, RUNNER_TOKEN, require_token, spec.gitlab.url),
        others={key: value for key, value in found.items() if value is not None},
        takes_webhooks=spec.gitlab.webhook_secret is not None,
        problem=reader.problem,
    )


async def get_api_access(deps: PoolDeps, namespace: str, gitlab: GitLabConnection) -> Access:
    """Read only the values for GitLab's API, in the same way."""
    reader = SecretReader(deps.kubernetes, deps.settings, namespace)
    ca = await reader.find(gitlab.ca_secret, CA)
    api = await find_api_token(reader, gitlab, ca)
    return Access(api, others={CA_KEY: ca} if ca is not None else {}, problem=reader.problem)
