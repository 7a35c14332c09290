"""Show what would be created for a pool, and what its runners would be configured with, here and on other hosts."""

from __future__ import annotations

import tomllib

from bessemer.api.runnerpool.names import KIND
from bessemer.api.runnerpool.resource import RunnerPool, parse_runner_pool
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.console.form import Form
from bessemer.console.terminal import print_text
from bessemer.console.values import write_value
from bessemer.foreign import make_line
from bessemer.kinds.runnerpool.render.config import build_config, list_references
from bessemer.kinds.runnerpool.runner.foresee import foresee_steps

METADATA = {"namespace": "<namespace>", "uid": ""}


def print_pool_plan(name: str, spec: RunnerPoolSpec, form: Form | None) -> None:
    """Print the steps to the runner and its config.toml, with names in the place of what stands in Secrets."""
    pool = parse_runner_pool({"metadata": METADATA | {"name": name}, "spec": spec.to_api()})
    config, plans = _build_config(pool, spec), foresee_steps(pool, spec)
    scope, runner = spec.gitlab.scope, spec.runner
    if form is not None:
        value = {"kind": KIND, "name": name, "scope": scope.to_api(), "min": spec.min, "max": spec.max}
        jobs = {"tags": list(runner.tags), "runUntagged": runner.run_untagged}
        steps = [{"step": type(plan.step).__name__, "reason": plan.reason, "message": plan.message} for plan in plans]
        write_value({**value, **jobs, "steps": steps, "config": tomllib.loads(config)}, form)
        return
    where = " ".join(part for part in (scope.type.value, scope.path) if part)
    taken = [f"with tags among {', '.join(runner.tags)}"] if runner.tags else []
    taken += ["without tags"] if runner.run_untagged else []
    head = f"# {name}: jobs of {where}, {' or '.join(taken)}; {spec.min} to {spec.max} at a time"
    lines = [head, *(f"# {plan}" for plan in plans)]
    print_text("\n".join([*(make_line(line, len(line)) for line in lines), config]))


def _build_config(pool: RunnerPool, spec: RunnerPoolSpec) -> str:
    secrets = {key: f"<{reference.name}/{reference.key}>" for key, (reference, _) in list_references(spec).items()}
    token = spec.runner.token_secret
    return build_config(pool, spec, f"<{token.name}/{token.key}>" if token else "<the runner's token>", secrets)
