"""What is a quantity: a pool's spec takes what the API server takes in a pod, and refuses what that refuses."""

from __future__ import annotations

import json
import random
import re
import subprocess
from typing import Any

from pydantic import ValidationError

from bessemer.api.runnerpool.podspec import Resources
from local_kubernetes.kubectl import Kubectl

WRITTEN: list[Any] = [
    *(2, 0, 1000.0, 2147483648, -1, True, [], {}),
    *("2", "2.0", "0.5", ".5", "5.", "1e3", "1E3", "1E", "1e-3", "1e+3", "100m", "+1", "1Ki", "1k", "1Pi", "1Ei", "1n"),
    *("1e99", "1e-99", "9" * 32, "-1", "1Zi", "1ki", "1K", "1e", "1nn", "", "1_000", "0x10", "1.2.3", "1Ki2", "1e3.0"),
    *("NaN", "inf", "\u0661", "two"),
]
PIECES = [*"105.eE-+mkKMGi", "Ki", "Mi", "Ti", "Zi", "n", "u", "P"]
LAX = r"[-+]?\.?([KMGTPE]i|[numkMGTPE])?([eE][-+]?[0-9]+)?|-0.*"
"""What only the parser takes: no digit before the unit, and a zero with a minus."""


def is_taken(value: object) -> bool:
    try:
        Resources.model_validate({"requests": {"memory": value}})
    except ValidationError:
        return False
    return True


def test_a_pool_takes_the_quantities_that_kubernetes_takes_in_a_pod(namespace: Kubectl) -> None:
    chance = random.Random(11)  # noqa: S311  no secret
    made = ["".join(chance.choices(PIECES, k=chance.randint(1, 5))) for _ in range(150)]
    values = [*WRITTEN, *(text for text in made if not re.fullmatch(LAX, text))]
    pods = [build_pod(f"p{number}", value) for number, value in enumerate(values)]
    created = create_dry(namespace, {"apiVersion": "v1", "kind": "List", "items": pods})
    by_kubernetes = [value for number, value in enumerate(values) if f"pod/p{number}" in created]
    assert [value for value in values if is_taken(value)] == by_kubernetes
    assert 30 < len(by_kubernetes) < len(values) - 30


def create_dry(namespace: Kubectl, objects: dict[str, Any]) -> set[str]:
    """Return the names of those objects that the API server would create."""
    command = [str(namespace.program), "--kubeconfig", str(namespace.kubeconfig), "--namespace", namespace.namespace]
    command += ["create", "--dry-run=server", "--validate=false", "--output=name", "--filename=-"]
    done = subprocess.run(command, input=json.dumps(objects), capture_output=True, text=True, timeout=120, check=False)
    return set(done.stdout.split())


def build_pod(name: str, memory: object) -> dict[str, Any]:
    container = {"name": "c", "image": "localhost/none:1", "resources": {"requests": {"memory": memory}}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}
