"""What every custom resource of ours shares: how models map to the API, and the standard condition.

Models are read leniently (unknown fields ignored), because the CRD may be newer than the operator that reads it;
the API server, which knows the schema, is what refuses or prunes unknown fields.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "bessemer.dev"
VERSION = "v1alpha1"


class ApiModel(BaseModel):
    """A part of a resource: snake_case in Python, camelCase on the wire, docstrings become descriptions."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        use_attribute_docstrings=True,
        frozen=True,
    )

    def to_api(self) -> dict[str, Any]:
        """Give the JSON object that the Kubernetes API takes, without absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """Give the schema extension for CEL rules, each a pair of expression and the message a user sees.

    Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
    """
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def list_map(*keys: str) -> dict[str, Any]:
    """Give the schema extension for a list whose elements are told apart by these fields."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


ATOMIC_LIST: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
FREE_FORM: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}


class Condition(ApiModel):
    """One aspect of how the object is, in the form of metav1.Condition."""

    type: str = Field(max_length=316)
    """The aspect, in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """Whether the aspect holds."""
    reason: str = Field(min_length=1, max_length=1024)
    """Why, as one CamelCase word that programs may compare."""
    message: str = Field(default="", max_length=32768)
    """Why, in a sentence for people."""
    observed_generation: int | None = Field(default=None, ge=0)
    """The generation of the spec that this was computed from."""
    last_transition_time: datetime
    """When the status last changed."""
