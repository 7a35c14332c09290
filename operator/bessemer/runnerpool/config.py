"""The configuration of a pool's runners: what stands in its Secret. Pure.

Source: https://docs.gitlab.com/runner/configuration/advanced-configuration/
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import tomli_w

from bessemer.runnerpool.resource import RunnerPool
from bessemer.runnerpool.spec import RunnerPoolSpec

CONFIG_KEY = "config.toml"
ENTRYPOINT_KEY = "entrypoint.sh"
CA_KEY = "ca.crt"
CONFIG_DIRECTORY = "/etc/bessemer/runner"
"""Where the Secret is mounted, in the init container alone."""
HOME_DIRECTORY = "/run/bessemer/home"
"""Where the init container puts what the runner needs: in memory, and the configuration is gone before a job starts."""
BUILDS_DIRECTORY = "/builds"


def build_config(pool: RunnerPool, spec: RunnerPoolSpec, token: str, *, with_ca: bool) -> str:
    """Give the text of config.toml."""
    runner: dict[str, Any] = {
        "name": pool.name,
        "url": spec.gitlab.url,
        "token": token,
        "executor": "shell",
        "shell": "bash",
        "builds_dir": BUILDS_DIRECTORY,
        "cache_dir": f"{BUILDS_DIRECTORY}/cache",
        "environment": [f"{variable.name}={variable.value}" for variable in spec.pod.environment],
    }
    if with_ca:
        runner["tls-ca-file"] = f"{HOME_DIRECTORY}/{CA_KEY}"
    return tomli_w.dumps({"concurrent": 1, "check_interval": 3, "runners": [runner]})


def build_secret_data(pool: RunnerPool, spec: RunnerPoolSpec, token: str, ca: str | None) -> dict[str, str]:
    """Give the contents of the Secret that runner pods mount."""
    data = {
        CONFIG_KEY: build_config(pool, spec, token, with_ca=ca is not None),
        ENTRYPOINT_KEY: files("bessemer.runnerpool").joinpath("entrypoint.sh").read_text(),
    }
    if ca is not None:
        data[CA_KEY] = ca
    return data
