"""Show what a pool's runners would be configured with; for a host of your own as well as for pods."""

from __future__ import annotations

from bessemer.api.runnerpool.resource import parse_runner_pool
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.cli.terminal import make_output
from bessemer.foreign import make_line
from bessemer.kinds.runnerpool.render.config import build_config, list_references


def print_pool_plan(name: str, spec: RunnerPoolSpec) -> None:
    """Print the runner's config.toml, with names in the place of what stands in Secrets."""
    runner = spec.runner
    scope = " ".join(part for part in (spec.gitlab.scope.type.value, spec.gitlab.scope.path) if part)
    jobs = [f"with tags among {', '.join(runner.tags)}"] if runner.tags else []
    jobs += ["without tags"] if runner.run_untagged else []
    head = f"# {name}: jobs of {scope}, {' or '.join(jobs)}; {spec.min} to {spec.max} at a time"
    print(make_line(head, len(head)))
    secrets = {key: f"<{reference.name}/{reference.key}>" for key, (reference, _) in list_references(spec).items()}
    metadata = {"namespace": "<namespace>", "name": name, "uid": ""}
    pool = parse_runner_pool({"metadata": metadata, "spec": spec.to_api()})
    token = runner.token_secret
    shown = build_config(pool, spec, f"<{token.name}/{token.key}>" if token else "<the runner's token>", secrets)
    print(make_output(shown), end="")
