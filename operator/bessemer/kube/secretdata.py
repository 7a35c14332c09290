"""Read what stands in a Secret: anyone who may edit it may have written anything, so each value is checked when read.

Messages name the Secret and its key, and never show a value.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from bessemer.api.reasons import SECRET_BROKEN
from bessemer.errors import Invalid
from bessemer.foreign import make_line

MOST_BYTES = 1 << 20
"""The API server takes no larger Secret. Source: https://kubernetes.io/docs/concepts/configuration/secret/"""


@dataclass(frozen=True)
class SecretData:
    """The values of one Secret by their keys, decoded when they are asked for."""

    name: str
    """Of the Secret, for messages; with the field that names it, where a user chose it."""
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """As the API has them: base64."""

    def __contains__(self, key: str) -> bool:
        """Return whether there is such a key, whatever its value is."""
        return key in self.values

    def get_bytes(self, key: str) -> bytes | None:
        """Return a value, None where there is no such key; raises Invalid SecretBroken where it is not base64."""
        if key not in self.values:
            return None
        try:
            return base64.b64decode(self.values[key], validate=True)
        except (TypeError, ValueError, binascii.Error):
            self.refuse(key, "is not base64")

    def get_text(self, key: str, most: int = MOST_BYTES) -> str | None:
        """Return a value that is text in UTF-8, None where there is no such key; raises Invalid SecretBroken."""
        value = self.get_bytes(key)
        if value is None:
            return None
        if len(value) > most:
            self.refuse(key, f"is longer than {most} bytes")
        try:
            return value.decode()
        except UnicodeDecodeError:
            self.refuse(key, "is not text in UTF-8")

    def require_bytes(self, key: str) -> bytes:
        """Return a value that has to be there and not empty; raises Invalid SecretBroken."""
        value = self.get_bytes(key)
        if not value:
            self.refuse(key, "is missing" if value is None else "is empty")
        return value

    def require_text(self, key: str, most: int = MOST_BYTES) -> str:
        """Return a text that has to be there and not empty; raises Invalid SecretBroken."""
        value = self.get_text(key, most)
        if not value:
            self.refuse(key, "is missing" if value is None else "is empty")
        return value

    def refuse(self, key: str, what: str) -> NoReturn:
        """Raise Invalid SecretBroken that says what is wrong with a key, without its value."""
        raise Invalid(SECRET_BROKEN, f"Secret {self.name}: key {make_line(key, 128)} {what}")


def read_secret(raw: Mapping[str, Any] | None, name: str) -> SecretData:
    """Return the data of a Secret as it was read from the API; empty where it does not exist or has none. Never raises.

    ``name`` is what messages call it, such as ``oxygen-bessemer`` or ``key (spec.gitlab.apiTokenSecret)``.
    """
    data = raw.get("data") if isinstance(raw, Mapping) else None
    return SecretData(name, dict(data) if isinstance(data, Mapping) else {})
