"""What ansible-runner's events tell: which task runs, which host failed at which task, and how each host ended."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from bessemer.foreign import DEEPEST, compute_depth, make_line

MESSAGE_CHARACTERS = 500
TASK_CHARACTERS = 120
SEARCHED_CHARACTERS = 16384
"""Of what a task said that are looked at; some modules return whole logs."""
HOST_CHARACTERS = 64
_HOST = re.compile(rf"[A-Za-z0-9_.-]{{1,{HOST_CHARACTERS}}}")
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
        """Take an event; tells ansible-runner not to write it to a file, of which there would be very many.

        What hosts and playbooks say is made printable and short here; an event of another form is left out.
        """
        data = event.get("event_data")
        if not isinstance(data, Mapping):
            return False
        match event.get("event"):
            case "playbook_on_task_start":
                self.task = make_line(_to_text(data.get("task")), TASK_CHARACTERS)
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
        host, task = name_host(_to_text(data.get("host"))), make_line(_to_text(data.get("task")), TASK_CHARACTERS)
        self.messages[host] = make_line(f"{task}: {parse_task_message(data.get('res'))}", MESSAGE_CHARACTERS)
        _log.warning("%s: %s", host, self.messages[host])

    def _note_end(self, data: Mapping[str, Any]) -> None:
        self.seen = tuple({**_get_hosts(data, "processed"), **_get_hosts(data, "ok")})
        self.failed = tuple(_get_hosts(data, "failures"))
        self.unreachable = tuple(_get_hosts(data, "dark"))
        self.ended = True


def parse_task_message(result: object) -> str:
    """Return in one line what a failed task said: of a loop the first item that failed, of a command its errors."""
    for _ in range(DEEPEST):  # a loop in a loop is an item with items
        items = result.get("results") if isinstance(result, Mapping) else None
        listed = items if isinstance(items, list) else []
        failed = [item for item in listed if isinstance(item, Mapping) and item.get("failed")]
        if not failed:
            break
        result = failed[0]
    said = [_get_text(result, key) for key in ("msg", "stderr", "module_stderr", "censored")]
    return ": ".join(text for text in said if text) or "failed without a message"


def _get_text(result: object, key: str) -> str:
    value = result.get(key) if isinstance(result, Mapping) else None
    return make_line(" ".join(_BANNER.sub(" ", _to_text(value)[:SEARCHED_CHARACTERS]).split())) if value else ""


def _to_text(value: object) -> str:
    """Return a value as text; of what nests without end, which Python can't write, that it does."""
    if value is None or compute_depth(value) > DEEPEST:
        return "" if value is None else "nested too deep to be shown"
    return str(value)


def name_host(host: str) -> str:
    """Return the name of a host as it may be shown; one that no machine can have, which a playbook may add, in quotes.

    So what a site's playbook calls hosts is never taken for a machine of the build.
    """
    return host if _HOST.fullmatch(host) else repr(make_line(host, HOST_CHARACTERS))


def _get_hosts(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    hosts = data.get(key)
    return {name_host(str(host)): value for host, value in hosts.items()} if isinstance(hosts, Mapping) else {}
