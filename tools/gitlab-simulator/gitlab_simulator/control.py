"""Steers a simulator from a test."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

Send = Callable[[str, str, Any], Any]
"""Method, path below the simulator, JSON body or None -> JSON or None."""
SECONDS = 30
"""The simulator answers at once; a busy machine may not."""


class Simulator:
    """The control API; how requests get there is for the caller."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def seed(self, **parts: Any) -> dict[str, str]:
        """Create groups, projects, users, tokens; return the values of the tokens by their names."""
        values: dict[str, str] = self._send("POST", "/-/simulator/seed", parts)
        return values

    def run_jobs(self, project: str, *jobs: Mapping[str, Any], **pipeline: Any) -> list[int]:
        """Create a pipeline; return the numbers of its jobs."""
        body = {"project": project, "jobs": list(jobs), **pipeline}
        numbers: list[int] = self._send("POST", "/-/simulator/pipelines", body)["jobs"]
        return numbers

    def jobs(self) -> dict[int, dict[str, Any]]:
        """Return all jobs by their numbers."""
        return {job["id"]: job for job in self._send("GET", "/-/simulator/jobs", None)}

    def runners(self) -> list[dict[str, Any]]:
        """Return all runners."""
        found: list[dict[str, Any]] = self._send("GET", "/-/simulator/runners", None)
        return found

    def requests(self) -> dict[str, int]:
        """Return how many requests each route had."""
        counts: dict[str, int] = self._send("GET", "/-/simulator/requests", None)
        return counts

    def add_hook(self, **hook: Any) -> None:
        """Create a webhook for job events."""
        self._send("POST", "/-/simulator/hooks", hook)

    def deliveries(self) -> list[dict[str, Any]]:
        """Return what became of the events that webhooks were sent."""
        found: list[dict[str, Any]] = self._send("GET", "/-/simulator/deliveries", None)
        return found

    def add_commit(self, project: str, **commit: Any) -> str:
        """Create a commit (`spec.CommitSpec`); return its name."""
        return str(self._send("POST", "/-/simulator/commits", {"project": project, "commit": commit})["id"])

    def change_settings(self, **settings: Any) -> None:
        """Change settings by their names (`state.Settings`)."""
        self._send("POST", "/-/simulator/settings", settings)

    def advance_clock(self, seconds: float) -> None:
        """Let time jump ahead."""
        self._send("POST", "/-/simulator/clock/advance", {"seconds": seconds})

    def switch_fault(self, **fault: Any) -> None:
        """Switch a fault on."""
        self._send("POST", "/-/simulator/faults", fault)

    def clear_faults(self) -> int:
        """Switch all faults off; return how often they have struck."""
        return int(self._send("DELETE", "/-/simulator/faults", None)["struck"])

    def cancel_job(self, token: str, number: int) -> None:
        """Cancel a job by the API, with an access token."""
        job = self.jobs()[number]
        self._send("POST", f"/api/v4/projects/{job['project_id']}/jobs/{number}/cancel?private_token={token}", {})

    def create_runner(self, token: str, **fields: Any) -> dict[str, Any]:
        """Create a runner by the API, with an access token."""
        found: dict[str, Any] = self._send("POST", f"/api/v4/user/runners?private_token={token}", fields)
        return found

    def reset_runner_token(self, token: str) -> str:
        """Replace a runner's token, which is dead from then on; return the new one."""
        return str(self._send("POST", "/api/v4/runners/reset_authentication_token", {"token": token})["token"])

    def delete_runner(self, token: str, number: int) -> None:
        """Delete a runner by the API, with an access token."""
        self._send("DELETE", f"/api/v4/runners/{number}?private_token={token}", None)


def send_over_http(url: str, context: ssl.SSLContext | None = None) -> Send:
    """Return how requests get to a simulator that this process reaches; ``context`` is for HTTPS."""

    def send(method: str, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url + path, data, headers, method=method)  # noqa: S310  ours
        with urllib.request.urlopen(request, timeout=SECONDS, context=context) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text) if text else None

    return send
