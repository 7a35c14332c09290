"""Steers a simulator from a test."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Callable, Mapping, Sequence
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
        """Create a webhook (`control_api.HookSpec`), for job events unless it says otherwise."""
        self._send("POST", "/-/simulator/hooks", hook)

    def deliveries(self) -> list[dict[str, Any]]:
        """Return what became of the events that webhooks were sent."""
        found: list[dict[str, Any]] = self._send("GET", "/-/simulator/deliveries", None)
        return found

    def add_commit(self, project: str, *, pushed_by: str = "", **commit: Any) -> str:
        """Create a commit (`spec.CommitSpec`), by a push of a user if one is named; return its name."""
        return self.add_commits(project, [commit], pushed_by=pushed_by)[0]

    def add_commits(self, project: str, commits: Sequence[Mapping[str, Any]], *, pushed_by: str = "") -> list[str]:
        """Create commits, by a push each if a user is named; return their names."""
        body = {"project": project, "commits": list(commits), "pushed_by": pushed_by}
        names: list[str] = self._send("POST", "/-/simulator/commits", body)["ids"]
        return names

    def hold_deliveries(self) -> None:
        """Have webhooks wait, as where Sidekiq, which sends GitLab's, is down."""
        self._send("POST", "/-/simulator/deliveries/hold", None)

    def release_deliveries(self) -> None:
        """Send all webhooks that have waited."""
        self._send("POST", "/-/simulator/deliveries/release", None)

    def change_settings(self, **settings: Any) -> None:
        """Change settings by their names (`state.Settings`)."""
        self._send("POST", "/-/simulator/settings", settings)

    def advance_clock(self, seconds: float) -> None:
        """Let time jump ahead."""
        self._send("POST", "/-/simulator/clock/advance", {"seconds": seconds})

    def rotate_keys(self, *, keep: bool) -> None:
        """Sign tokens of jobs with a new key; the old ones are told on if they are kept."""
        self._send("POST", "/-/simulator/keys/rotate", {"keep": keep})

    def sign(self, **claims: Any) -> str:
        """Return a token that says anything, signed by the current key."""
        return str(self._send("POST", "/-/simulator/keys/sign", claims)["token"])

    def switch_fault(self, **fault: Any) -> None:
        """Switch a fault on."""
        self._send("POST", "/-/simulator/faults", fault)

    def clear_faults(self) -> int:
        """Switch all faults off; return how often they have struck."""
        return int(self._send("DELETE", "/-/simulator/faults", None)["struck"])

    def cancel_job(self, token: str, number: int) -> None:
        """Cancel a job by the API, with an access token."""
        job = self.jobs()[number]
        self.ask(token, "POST", f"/projects/{job['project_id']}/jobs/{number}/cancel", {})

    def play_job(self, token: str, number: int) -> None:
        """Start a manual job by the API, with an access token."""
        job = self.jobs()[number]
        self.ask(token, "POST", f"/projects/{job['project_id']}/jobs/{number}/play", {})

    def create_runner(self, token: str, **fields: Any) -> dict[str, Any]:
        """Create a runner by the API, with an access token."""
        found: dict[str, Any] = self.ask(token, "POST", "/user/runners", fields)
        return found

    def reset_runner_token(self, token: str) -> str:
        """Replace a runner's token, which is dead from then on; return the new one."""
        return str(self._send("POST", "/api/v4/runners/reset_authentication_token", {"token": token})["token"])

    def delete_runner(self, token: str, number: int) -> None:
        """Delete a runner by the API, with an access token."""
        self.ask(token, "DELETE", f"/runners/{number}")

    def ask(self, token: str, method: str, path: str, body: Any = None) -> Any:
        """Return what the REST API answers to an access token, such as of ``/projects/1/merge_requests/1/notes``."""
        mark = "&" if "?" in path else "?"
        return self._send(method, f"/api/v4{path}{mark}private_token={token}", body)


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
