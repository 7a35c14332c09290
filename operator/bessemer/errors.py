"""Errors whose class is the policy for handling them.

``Invalid``: the user must change something; retrying is useless. ``Retry``: the outside state must change; retry.
Messages contain facts, never secrets.
"""

from __future__ import annotations


class BessemerError(Exception):
    """Base class: a reason that programs can compare and a message for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        """One CamelCase word."""
        self.message = message
        """The reason in a sentence."""


class Invalid(BessemerError):
    """The user must change the spec or an object that it refers to."""


class Retry(BessemerError):
    """A temporary condition; retrying may help."""

    def __init__(self, reason: str, message: str, after: float | None = None) -> None:
        super().__init__(reason, message)
        self.after = after
        """Seconds to wait before the next attempt; None: the caller's back-off applies."""
