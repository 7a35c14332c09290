"""What the CRD and the admission policies of a kind are generated from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bessemer.api.admission import Rule, Validation
from bessemer.api.base import ApiModel


@dataclass(frozen=True)
class CustomResource:
    """Input for the CRD of a kind."""

    kind: str
    plural: str
    short_name: str
    description: str
    models: tuple[type[ApiModel], type[ApiModel]]
    """Spec and status."""
    columns: tuple[dict[str, Any], ...]
    rules: tuple[Validation, ...]
    """Rules of the admission policies, in addition to those for the objects that the spec names."""
    scale: dict[str, str] | None = None
    """The scale subresource."""
    variables: tuple[Rule, ...] = ()
    """Variables of the rules."""
    files: Mapping[str, Any] = field(default_factory=dict)
    """Further files of the chart, by name in its folder ``files``, as values for YAML."""
