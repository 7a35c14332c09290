"""The payloads by which GitLab's own Go client is tested, read from its module, and what others lack."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from local_kubernetes.binaries.toolchain import get_go

MODULE = "gitlab.com/gitlab-org/api/client-go@v1.46.0"
SECONDS = 300


@cache
def read_fixture(name: str) -> dict[str, Any]:
    """Return one of ``testdata/webhooks``; the module is fetched if Go does not have it yet."""
    found: dict[str, Any] = json.loads((_find_module() / "testdata" / "webhooks" / f"{name}.json").read_text())
    return found


@cache
def _find_module() -> Path:
    done = subprocess.run(
        [get_go().command, "mod", "download", "-json", MODULE],
        capture_output=True,
        check=True,
        timeout=SECONDS,
        cwd="/",
    )
    return Path(json.loads(done.stdout)["Dir"])


def find_differences(fixture: Any, ours: Any, path: str = "") -> list[str]:
    """Return a line for each field of a fixture that our payload lacks or has with another type; None says nothing."""
    if fixture is None or ours is None:
        return []
    if _get_kind(fixture) != _get_kind(ours):
        return [f"{path}: {_get_kind(ours)} instead of {_get_kind(fixture)}"]
    if isinstance(fixture, dict):
        found = [f"{path}.{name} is missing" for name in fixture if name not in ours]
        for name in (name for name in fixture if name in ours):
            found += find_differences(fixture[name], ours[name], f"{path}.{name}")
        return found
    if isinstance(fixture, list) and fixture:
        return [line for one in ours for line in find_differences(_join(fixture), one, f"{path}[]")]
    return []


def _join(entries: list[Any]) -> Any:
    """Return an entry that has what any of them has."""
    if not isinstance(entries[0], dict):
        return entries[0]
    joined: dict[str, Any] = {}
    for entry in entries:
        joined |= {name: value for name, value in entry.items() if joined.get(name) is None}
    return joined


def _get_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__
