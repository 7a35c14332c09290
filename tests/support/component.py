"""The CI component as GitLab includes it: inputs are put in, and the job is one that the simulator takes.

Source: https://docs.gitlab.com/ci/inputs/; that the component is also read so by others is tested by
``tests/contract/gitlab/component``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.support.checkout import ROOT

TEMPLATE = ROOT / "gitlab" / "templates" / "build" / "template.yml"
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_INPUT = re.compile(r"\$\[\[ inputs\.([a-z-]+) \]\]")
_UNKNOWN = frozenset({"interruptible"})
"""Keywords that the simulator does not have, as it cancels no pipelines by itself."""


def render_job(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job of the component, as ``spec.JobSpec`` of the simulator has it; raises KeyError, ValueError."""
    header, body = yaml.safe_load_all(TEMPLATE.read_text(encoding="utf-8"))
    values = {name: about["default"] for name, about in header["spec"]["inputs"].items() if "default" in about}
    values |= inputs
    for name, about in header["spec"]["inputs"].items():
        if "regex" in about and re.search(about["regex"], values[name]) is None:
            raise ValueError(f"{name}: {values[name]} does not match {about['regex']}")
    ((name, job),) = _put_in(body, values).items()
    found = {keyword: value for keyword, value in job.items() if keyword not in _UNKNOWN}
    variables = {key: one["value"] if isinstance(one, Mapping) else one for key, one in job["variables"].items()}
    reports = {kind: [path] for kind, path in job["artifacts"]["reports"].items()}
    number, unit = str(job["timeout"]).split()
    return found | {
        "name": name,
        "variables": variables,
        "artifacts": job["artifacts"] | {"reports": reports},
        "timeout": int(number) * SECONDS[unit.removesuffix("s")],
    }


def _put_in(value: Any, inputs: Mapping[str, Any]) -> Any:
    """Return a value with inputs in the places of their names; one that stands alone keeps its type."""
    if isinstance(value, Mapping):
        return {_put_in(name, inputs): _put_in(inner, inputs) for name, inner in value.items()}
    if isinstance(value, list):
        return [_put_in(inner, inputs) for inner in value]
    if not isinstance(value, str):
        return value
    alone = _INPUT.fullmatch(value)
    return inputs[alone[1]] if alone else _INPUT.sub(lambda found: str(inputs[found[1]]), value)
