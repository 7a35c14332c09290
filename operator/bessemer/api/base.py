"""The base of all custom resources: how models map to the API, how objects are read, and the standard condition.

Reading is lenient (unknown fields are ignored), because the CRD may be newer than the operator. The API server, which
has the schema, rejects or prunes unknown fields.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from bessemer.api.group import API_VERSION
from bessemer.foreign import make_line, make_text


class ApiModel(BaseModel):
    """A part of a resource: snake_case in Python, camelCase in the API; attribute docstrings become descriptions."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        use_attribute_docstrings=True,
        frozen=True,
    )

    def to_api(self) -> dict[str, Any]:
        """Return the JSON object for the Kubernetes API, without absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


MOST_SPEC_BYTES = (1 << 20) - (4 << 10)
"""Maximum size of a spec as JSON: it must fit into a ConfigMap or a Secret together with a few other values.
Source: https://kubernetes.io/docs/concepts/configuration/configmap/#motivation"""


class SpecModel(ApiModel):
    """A whole spec."""

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if len(write_json(self.to_api())) > MOST_SPEC_BYTES:
            raise ValueError(f"is longer than {MOST_SPEC_BYTES} bytes (as JSON), which no ConfigMap can hold")
        return self


def write_json(value: Any) -> str:
    """Return a value as JSON in ASCII without white space; its characters are its bytes."""
    return json.dumps(value, separators=(",", ":"))


def build_merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch that turns ``before`` into ``after``; removed members become null, at any depth.

    Neither argument may contain a null. Source: RFC 7396.
    """
    patch: dict[str, Any] = dict.fromkeys(set(before) - set(after))
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            nested = build_merge_patch(old, value)
            if nested:
                patch[key] = nested
        elif key not in before or value != old:
            patch[key] = value
    return patch


def apply_merge_patch(value: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object as a JSON merge patch changes it; neither argument is changed. Source: RFC 7396."""
    result = dict(value)
    for key, new in patch.items():
        if new is None:
            result.pop(key, None)
        elif isinstance(new, Mapping):
            old = result.get(key)
            result[key] = apply_merge_patch(old if isinstance(old, Mapping) else {}, new)
        else:
            result[key] = new
    return result


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """Return the schema extension for CEL rules; each rule is a pair of an expression and the message for users.

    Source:
    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
    """
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def list_map(*keys: str) -> dict[str, Any]:
    """Return the schema extension for a list whose elements are identified by these fields."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


ATOMIC_LIST: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
FREE_FORM: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}


PrintableLine = Annotated[str, AfterValidator(lambda text: make_line(text, len(text)))]
"""Text from an untrusted source: validation turns it into one printable line."""
PrintableText = Annotated[str, AfterValidator(lambda text: make_text(text, len(text)))]
"""The same for text of several lines."""


class Condition(ApiModel):
    """One aspect of the object's state, in the form of metav1.Condition."""

    type: PrintableLine = Field(max_length=316)
    """The aspect, in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """Whether the aspect holds."""
    reason: PrintableLine = Field(min_length=1, max_length=1024)
    """The reason for the status, as one CamelCase word that programs can compare."""
    message: PrintableText = Field(default="", max_length=32768)
    """The reason in a sentence, for people."""
    observed_generation: int | None = Field(default=None, ge=0)
    """The generation of the spec that this was computed from."""
    last_transition_time: datetime
    """When the status last changed."""


class HasConditions(Protocol):
    """A status that declares its own list of conditions, because the limit differs by kind."""

    @property
    def conditions(self) -> list[Condition]:
        """Its conditions."""


class Conditioned(ApiModel):
    """The status of any kind."""

    def condition(self: HasConditions, type_: str) -> Condition | None:
        """Return one condition, None if it was never set."""
        return next((condition for condition in self.conditions if condition.type == type_), None)


def explain_validation_error(error: ValidationError, root: str) -> str:
    """Return one line per invalid field, with the field's path as in the manifest; ``root`` is the path's
    first part.
    """
    lines = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        lines.append(f"{root}{path}: {message}")
    return "\n".join(lines)


_Model = TypeVar("_Model", bound=BaseModel)


def parse_lenient(model: type[_Model], raw: Mapping[str, Any]) -> _Model:
    """Read a status; fields that can't be read (another version wrote them) are dropped one by one."""
    fields = dict(raw)
    for _ in range(len(fields) + 1):
        try:
            return model.model_validate(fields)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False, include_input=False):
                fields.pop(str(detail["loc"][0]), None)
    return model()


def parse_time(text: str | None) -> datetime | None:
    """Read a time as Kubernetes writes it (RFC 3339)."""
    return None if text is None else datetime.fromisoformat(text)


_Spec = TypeVar("_Spec", bound=ApiModel)
_Status = TypeVar("_Status", bound=ApiModel)


@dataclass(frozen=True)
class Resource(Generic[_Spec, _Status]):
    """One object as it was read: the metadata we use, the spec (or why it can't be read) and the status."""

    KIND: ClassVar[str]

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created: datetime | None
    deleted: datetime | None
    annotations: Mapping[str, str]
    finalizers: tuple[str, ...]
    spec: _Spec | None
    spec_error: str
    status: _Status

    def reference(self) -> dict[str, str]:
        """Return the object reference that events about this object carry."""
        own = {"namespace": self.namespace, "name": self.name, "uid": self.uid}
        return {"apiVersion": API_VERSION, "kind": self.KIND, **own}

    def owner_reference(self) -> dict[str, Any]:
        """Return the owner reference for objects that are created for this one."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


_Resource = TypeVar("_Resource")


def parse_resource(
    make: Callable[..., _Resource], spec_model: type[ApiModel], status_model: type[ApiModel], raw: Mapping[str, Any]
) -> _Resource:
    """Turn a raw object into a typed one; a spec that can't be read ends up in ``spec_error``, never in an
    exception.
    """
    metadata = raw["metadata"]
    spec, spec_error = None, ""
    try:
        spec = spec_model.model_validate(raw.get("spec") or {})
    except ValidationError as error:
        spec_error = explain_validation_error(error, "spec")
    return make(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 1)),
        resource_version=metadata.get("resourceVersion", ""),
        created=parse_time(metadata.get("creationTimestamp")),
        deleted=parse_time(metadata.get("deletionTimestamp")),
        annotations=dict(metadata.get("annotations") or {}),
        finalizers=tuple(metadata.get("finalizers") or ()),
        spec=spec,
        spec_error=spec_error,
        status=parse_lenient(status_model, raw.get("status") or {}),
    )
