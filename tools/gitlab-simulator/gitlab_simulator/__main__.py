"""Serves a GitLab to test against, all in memory, with a page that lists jobs and has a button to run some."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml
from aiohttp import web
from pydantic import ValidationError

from .seeding import apply_seed
from .server import build_app, build_state
from .spec import Seed
from .state import NotThereError

EXAMPLE = {
    "projects": [{"path": "hpc/simulations"}],
    "users": [{"username": "bot", "access": {"hpc": 50}}],
    "tokens": [{"user": "bot", "name": "api", "scopes": ["api", "create_runner", "manage_runner"]}],
}


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="gitlab-simulator", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:8929", metavar="HOST:PORT", help="where to listen")
    content = parser.add_mutually_exclusive_group()
    content.add_argument(
        "--seed", type=Path, metavar="FILE", help="YAML file with the content; default: a project and an access token"
    )
    content.add_argument("--empty", action="store_true", help="start without any content")
    parser.add_argument("--external-url", metavar="URL", help="the URL that jobs are told; default: that of --listen")
    parser.add_argument("--long-poll-seconds", type=float, default=50, help="how long a runner's request is held")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        parser.error("--listen: HOST:PORT is wanted, such as 127.0.0.1:8929")
    seed = Seed() if options.empty else Seed.model_validate(EXAMPLE)
    if options.seed:
        try:
            seed = read_seed(options.seed)
        except (OSError, ValueError) as error:
            parser.error(f"--seed: {error}")
    url = options.external_url or f"http://{options.listen}"

    async def make() -> web.Application:
        state = build_state(url)
        state.settings.long_poll_seconds = options.long_poll_seconds
        tokens = apply_seed(state, seed)
        if not options.empty:
            tell(url, seed, tokens)
        return build_app(state)

    try:
        web.run_app(make(), host=host.strip("[]"), port=int(port), print=None, access_log=None)
    except OSError as error:
        parser.error(f"--listen: {error.strerror or error}")
    except NotThereError as error:
        parser.error(f"--seed: {error}: there is none")


def read_seed(path: Path) -> Seed:
    """Read a seed file. Raises OSError or ValueError, which says what is wrong in one line."""
    try:
        return Seed.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: no YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ValueError(f"{path}: {wrong}") from error


def tell(url: str, seed: Seed, tokens: dict[str, str]) -> None:
    """Print what there is; the only time that the tokens are told."""
    print(f"GitLab simulator, all in memory: {url}/ (Ctrl-C ends it)")
    for project in seed.projects:
        print(f"  project {project.path}")
    for name, value in tokens.items():
        print(f"  access token {name}: {value}")
    print(flush=True)


if __name__ == "__main__":
    main()
