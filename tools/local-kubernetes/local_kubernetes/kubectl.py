"""kubectl for tests: the same tool with the same arguments as a user's."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0

Resource = dict[str, Any]


class KubectlError(Exception):
    """kubectl ended with another code than 0; the message is what it said."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl for one cluster and namespace."""

    program: Path
    kubeconfig: Path
    namespace: str

    def run(self, *arguments: str, given: str | None = None, timeout: float = 60) -> str:
        """Run kubectl with arguments and, where given, standard input; return what it printed.

        Raises:
            KubectlError: it failed.
            subprocess.TimeoutExpired: it took more than ``timeout`` seconds.
        """
        command = [str(self.program), "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def apply(self, *manifests: Mapping[str, Any]) -> str:
        """Apply manifests."""
        return self.run(
            "apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        )

    def get(self, *arguments: str) -> Resource:
        """Get one object, or a list of them."""
        found: Resource = json.loads(self.run("get", *arguments, "-o", "json"))
        return found

    def find(self, *arguments: str) -> Resource | None:
        """Get one object, or None where there is none."""
        text = self.run("get", *arguments, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def items(self, *arguments: str) -> list[Resource]:
        """Get the objects of a list."""
        return list(self.get(*arguments)["items"])

    def wait_for(
        self,
        what: str,
        look: Callable[[], Any],
        seconds: float,
        explain: Callable[[], str] = str,
    ) -> Any:
        """Call ``look`` repeatedly until it returns something true, and return that.

        Raises:
            TimeoutError: nothing true within ``seconds``; the message contains ``what`` and the text of ``explain``.
        """
        deadline = time.monotonic() + seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            if seen := look():
                return seen
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {seconds:.0f} s\n{explain()}")
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
