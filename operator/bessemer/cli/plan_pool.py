"""Show what a pool's runners would be configured with; for a host of your own as well as for pods."""

from __future__ import annotations

import tomllib

from bessemer.api.runnerpool.resource import KIND, parse_runner_pool
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.cli.options import Form
from bessemer.cli.terminal import print_text
from bessemer.cli.values import write_value
from bessemer.foreign import make_line
from bessemer.kinds.runnerpool.render.config import build_config, list_references


def print_pool_plan(name: str, spec: RunnerPoolSpec, form: Form | None) -> None:
    """Print the runner's config.toml, with names in the place of what stands in Secrets."""
    config = _build_config(name, spec)
    scope, runner = spec.gitlab.scope, spec.runner
    if form is not None:
        value = {"kind": KIND, "name": name, "scope": scope.to_api(), "min": spec.min, "max": spec.max}
        jobs = {"tags": list(runner.tags), "runUntagged": runner.run_untagged}
        write_value({**value, **jobs, "config": tomllib.loads(config)}, form)
        return
    where = " ".join(part for part in (scope.type.value, scope.path) if part)
    taken = [f"with tags among {', '.join(runner.tags)}"] if runner.tags else []
    taken += ["without tags"] if runner.run_untagged else []
    head = f"# {name}: jobs of {where}, {' or '.join(taken)}; {spec.min} to {spec.max} at a time"
    print_text(f"{make_line(head, len(head))}\n{config}")


def _build_config(name: str, spec: RunnerPoolSpec) -> str:
    secrets = {key: f"<{reference.name}/{reference.key}>" for key, (reference, _) in list_references(spec).items()}
    metadata = {"namespace": "<namespace>", "name": name, "uid": ""}
    pool = parse_runner_pool({"metadata": metadata, "spec": spec.to_api()})
    token = spec.runner.token_secret
    return build_config(pool, spec, f"<{token.name}/{token.key}>" if token else "<the runner's token>", secrets)
