"""The forms of output for programs."""

from __future__ import annotations

from enum import StrEnum


class Form(StrEnum):
    """A form of output for programs."""

    JSON = "json"
    YAML = "yaml"
