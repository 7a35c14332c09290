"""What ansible-runner's events tell: which task runs, which host failed at which task, and how each host ended."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

MESSAGE_CHARACTERS = 400
_BANNER = re.compile(r"@{3,}")
"""What ssh draws around a warning; it would leave no room for the warning."""

_log = logging.getLogger(__name__)


class PlaybookEvents:
    """Gathers what is worth knowing of one run.

    Source: https://ansible.readthedocs.io/projects/runner/en/stable/intro/#artifactevents
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self.task = ""
        """The task that started last."""
        self.messages: dict[str, str] = {}
        """Why hosts failed: the task and what it said."""
        self.seen: tuple[str, ...] = ()
        self.failed: tuple[str, ...] = ()
        self.unreachable: tuple[str, ...] = ()
        self.ended = False
        """Whether the playbook came to its end, so that how each host ended is known."""

    def handle(self, event: Mapping[str, Any]) -> bool:
        """Take an event; tells ansible-runner not to write it to a file, of which there would be very many."""
        data = event.get("event_data", {})
        match event.get("event"):
            case "playbook_on_task_start":
                self.task = str(data.get("task", ""))
                self._report(self.task)
            case "runner_on_failed" if not data.get("ignore_errors"):
                self._note_failure(data)
            case "runner_on_unreachable":
                self._note_failure(data)
            case "playbook_on_stats":
                self._note_end(data)
            case _:
                pass
        return False

    def _note_failure(self, data: Mapping[str, Any]) -> None:
        host, task = str(data.get("host", "")), str(data.get("task", ""))
        said = parse_task_message(data.get("res") or {})
        self.messages[host] = f"{task}: {said}"[:MESSAGE_CHARACTERS]
        _log.warning("%s: %s", host, self.messages[host])

    def _note_end(self, data: Mapping[str, Any]) -> None:
        self.seen = tuple({**data.get("processed", {}), **data.get("ok", {})})
        self.failed = tuple(data.get("failures", {}))
        self.unreachable = tuple(data.get("dark", {}))
        self.ended = True


def parse_task_message(result: Mapping[str, Any]) -> str:
    """Tell in one line what a failed task said: of a loop the first item that failed, of a command its errors."""
    failed_items = [item for item in result.get("results") or [] if item.get("failed")]
    if failed_items:
        return parse_task_message(failed_items[0])
    texts = [str(result.get(key) or "").strip() for key in ("msg", "stderr", "module_stderr", "censored")]
    said = ": ".join(text for text in texts if text) or "failed without a message"
    return " ".join(_BANNER.sub(" ", said).split())
