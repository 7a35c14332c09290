"""Many pushes at once to a trigger: GitLab's webhooks wait, as where Sidekiq is down, and are then sent together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from gitlab_simulator.control import Simulator
from tests.support.checkout import ROOT
from tests.support.triggers import PROJECT

RULES = [{"name": "push", "push": {"branches": ["*"]}}]
"""Of a trigger that builds from each protected branch."""


@dataclass(frozen=True)
class Burst:
    """Pushes whose webhooks wait."""

    heads: dict[str, str]
    """The last commit of each ClusterBuild's branch, by the names of the ClusterBuilds."""
    commits: dict[str, str]
    """Names of ClusterBuilds by all commits."""


def build_manifest(name: str) -> str:
    """Return the example's ClusterBuild under another name."""
    manifest = yaml.safe_load((ROOT / "examples" / "oxygen.yaml").read_text(encoding="utf-8"))
    manifest["metadata"]["name"] = name
    return yaml.safe_dump(manifest, sort_keys=False)


def hold_burst(gitlab: Simulator, pushes: int, branches: int) -> Burst:
    """Push again and again to protected branches, each of which has the manifest of its own cluster.

    Nothing is sent before ``gitlab.release_deliveries()``.
    """
    names = [f"lab-{number}" for number in range(branches)]
    gitlab.hold_deliveries()
    specs: list[dict[str, Any]] = [
        {
            "branch": f"release/{name}",
            "message": f"Push {number}",
            "files": {f"clusters/{name}.yaml": build_manifest(name)} if number < branches else {},
        }
        for number, name in ((number, names[number % branches]) for number in range(pushes))
    ]
    commits = gitlab.add_commits(PROJECT, specs, pushed_by="ada")
    told = {commit: names[number % branches] for number, commit in enumerate(commits)}
    return Burst({name: commit for commit, name in told.items()}, told)
