"""The error of a manifest."""

from __future__ import annotations

from collections.abc import Iterable

from bessemer.errors import Invalid


def build_refusal(lines: Iterable[str]) -> Invalid:
    """Make the error of a manifest with all that is wrong with it."""
    return Invalid("InvalidManifest", "the manifest is not valid:\n" + "\n".join(f"  {line}" for line in lines))
