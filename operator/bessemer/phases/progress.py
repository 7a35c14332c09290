"""Posting progress to the operator: for people, best effort; nothing depends on it and nothing waits for it.

What is not taken is sent again until there is newer: the operator may be starting, or one that stands by was asked.
"""

from __future__ import annotations

import logging
import threading
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException
from typing import Protocol

from bessemer.api.phase_contract import Progress

THROTTLE_SECONDS = 1.0
"""No more than one post in that time; only the latest news counts."""
TIMEOUT_SECONDS = 3.0
TRIES = 60
"""How often one piece of news is sent at most."""

_log = logging.getLogger(__name__)


class ProgressSink(Protocol):
    """Takes progress; never raises, never blocks."""

    def post(self, progress: Progress) -> None:
        """Return how far the phase is."""
        ...

    def close(self) -> None:
        """Send what is still to be sent."""
        ...


class NoProgress:
    """Discards progress: for phases without a progress URL."""

    def post(self, progress: Progress) -> None:
        """Forget it."""

    def close(self) -> None:
        """Do nothing."""


class HttpProgress:
    """Posts the latest progress from a separate thread."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._token = token
        self._latest: Progress | None = None
        self._news = threading.Condition()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="progress", daemon=True)
        self._thread.start()

    def post(self, progress: Progress) -> None:
        """Take progress; see ProgressSink."""
        with self._news:
            self._latest = progress
            self._news.notify()

    def close(self) -> None:
        """Send the latest and end; see ProgressSink."""
        self._closed.set()
        with self._news:
            self._news.notify()
        self._thread.join(2 * TIMEOUT_SECONDS)

    def _send_all(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._latest is not None or self._closed.is_set())
                latest, self._latest = self._latest, None
            if latest is None:
                return
            for _ in range(TRIES):
                settled = self._send(latest)
                self._closed.wait(THROTTLE_SECONDS)
                if settled or self._latest is not None or self._closed.is_set():
                    break

    def _send(self, progress: Progress) -> bool:
        """Send once; False where it may be taken another time."""
        body = progress.model_dump_json(by_alias=True, exclude_none=True).encode()
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310  ours
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310  the operator's own URL
                return True
        except urllib.error.HTTPError as error:
            error.close()
            _log.debug("progress was not taken: %s", error)
            return error.code != HTTPStatus.SERVICE_UNAVAILABLE
        except (urllib.error.URLError, HTTPException, OSError, ValueError) as error:
            _log.debug("progress was not taken: %s", error)
            return False
