"""The errors whose class is their policy.

``Invalid``: the user must change something, trying again is useless. ``Retry``: the world must change, try again.
Messages are made from facts, never from secrets.
"""

from __future__ import annotations


class BessemerError(Exception):
    """What every error of ours has: a reason that programs may compare and a message for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        """One CamelCase word."""
        self.message = message
        """The reason in a sentence."""


class Invalid(BessemerError):
    """The user must change the spec or what it refers to."""


class Retry(BessemerError):
    """The world must change; trying again may help."""

    def __init__(self, reason: str, message: str, after: float | None = None) -> None:
        super().__init__(reason, message)
        self.after = after
        """Seconds to wait first; None leaves it to the caller's back-off."""
