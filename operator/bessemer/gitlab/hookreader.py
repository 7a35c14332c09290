"""Reads the body of a webhook piece by piece: of 25 MB it keeps the few members that matter. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Generic, TypeVar

from bessemer.errors import Invalid
from bessemer.foreign import Unreadable
from bessemer.jsonmembers import MemberScanner, Path, Scalar

T = TypeVar("T")


class HookReader(Generic[T]):
    """Keeps the given members, and makes of them what the webhook says."""

    def __init__(
        self, members: Collection[Path], parse: Callable[[Mapping[Path, Scalar]], T], clipped: Collection[Path] = ()
    ) -> None:
        """``parse`` raises Unreadable for members of no webhook; of those in ``clipped``, the beginning is enough."""
        self._scanner = MemberScanner(members, clipped)
        self._parse = parse
        self._error: Unreadable | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body, whatever it is."""
        if self._error is None:
            try:
                self._scanner.feed(piece)
            except Unreadable as error:
                self._error = error

    def parse(self) -> T:
        """Return what the webhook says, now that the whole body was fed; raises Invalid InvalidWebhook."""
        try:
            if self._error is not None:
                raise self._error
            return self._parse(self._scanner.finish())
        except Unreadable as error:
            raise Invalid("InvalidWebhook", f"not the body of a webhook: {error}") from error
