"""What a client of GitLab proves itself with, and by what it knows GitLab: tokens and certificate authorities."""

from __future__ import annotations

import functools
import re
import ssl

from bessemer.api.reasons import SECRET_BROKEN
from bessemer.errors import Invalid
from bessemer.foreign import Unreadable

_TOKEN = re.compile(r"[!-~]{1,4096}")


def build_context(ca: str | None) -> ssl.SSLContext:
    """Return what certificates are checked with: by a bundle in PEM alone, or by the authorities of the image.

    Raises Invalid for a bundle without any certificate. Nothing is written to a file.
    """
    if ca is None:
        return _build_default_context()
    try:
        return ssl.create_default_context(cadata=ca or "none")
    except (ssl.SSLError, ValueError):
        raise Invalid(SECRET_BROKEN, "spec.gitlab.caSecret: no certificates in PEM can be read from it") from None


@functools.cache
def _build_default_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def is_token(text: str) -> bool:
    """Return whether a text may be a token: it fits into a header, as it is."""
    return _TOKEN.fullmatch(text) is not None


def require_token(text: str) -> None:
    """Raise Unreadable, without a piece of it, for what can be no token."""
    if not is_token(text):
        raise Unreadable("can't be a token: tokens are one line of printable ASCII characters without blanks")


def check_token(token: str, where: str) -> None:
    """Raise Invalid, without a piece of it, for what can be no token."""
    if is_token(token):
        return
    text = "holds something that can't be a token: tokens are one line of printable ASCII characters without blanks"
    raise Invalid(SECRET_BROKEN, f"{where} {text}")
