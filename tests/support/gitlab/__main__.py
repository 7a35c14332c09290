"""Run the simulator: ``python -m tests.support.gitlab --listen HOST:PORT [--seed FILE] [--external-url URL]``."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml
from aiohttp import web

from .control_api import apply_seed
from .server import build_app, build_state
from .spec import Seed

PROJECT = "hpc/simulations"
EXAMPLE = {
    "projects": [{"path": PROJECT}],
    "users": [{"username": "bot", "access": {"hpc": 50}}],
    "tokens": [{"user": "bot", "name": "api", "scopes": ["api", "create_runner", "manage_runner"]}],
}


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="gitlab-simulator", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:8929", metavar="HOST:PORT", help="where to listen")
    parser.add_argument("--seed", type=Path, metavar="FILE", help="YAML file with what is there from the start")
    parser.add_argument("--example", action="store_true", help="have a project and a token, which are told")
    parser.add_argument("--external-url", metavar="URL", help="the URL that jobs are told; default: that of --listen")
    parser.add_argument("--long-poll-seconds", type=float, default=50, help="how long a runner's request is held")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    if not port.isdecimal():
        parser.error("--listen: HOST:PORT is wanted, such as 127.0.0.1:8929")

    async def make() -> web.Application:
        state = build_state(options.external_url or f"http://{options.listen}")
        state.settings.long_poll_seconds = options.long_poll_seconds
        if options.example:
            token = apply_seed(state, Seed.model_validate(EXAMPLE))["api"]
            print(f"GitLab simulator: {state.external_url}/\n  project {PROJECT}, access token {token}", flush=True)
        if options.seed:
            apply_seed(state, Seed.model_validate(yaml.safe_load(options.seed.read_text(encoding="utf-8"))))
        return build_app(state)

    web.run_app(make(), host=host, port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    main()
