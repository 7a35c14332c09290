"""Turn a pydantic model into a structural OpenAPI v3 schema for a CRD.

What pydantic emits and Kubernetes does not accept is translated: references are inlined, ``anyOf`` with null loses the
null, ``const`` becomes a one-value ``enum``, generated titles are removed, descriptions are filled paragraph by
paragraph. No field is ``nullable``: the API server treats an explicit null as an absent field, so that CEL rules never
see one. An unknown keyword raises an error, so that nothing is silently lost.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

_DROPPED = frozenset({"title", "additionalProperties", "propertyNames", "format"})
_KEPT = frozenset(
    {
        "type", "description", "default", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems",
        "maxItems", "maxProperties", "required", "x-kubernetes-validations", "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string",
    }
)  # fmt: skip
_FORMATS = frozenset({"date-time", "int32", "int64", "float", "double", "byte", "ipv4", "ipv6", "cidr", "uri"})
_ENUM_TYPES: dict[type, Literal["string", "integer", "boolean"]] = {str: "string", int: "integer", bool: "boolean"}


def compute_structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a model.

    Raises ValueError for what a structural schema can't express: a recursive model, a union of models, an unknown
    keyword.
    """
    root = _without_nulls(model.model_json_schema(by_alias=True, mode="validation"))
    definitions: dict[str, Any] = root.pop("$defs", {})
    return _translate(root, definitions, ())


def _translate(schema: dict[str, Any], definitions: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    schema = _inline(schema, definitions, path)
    result: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword == "properties":
            result["properties"] = {
                name: _translate(field, definitions, (*path, name)) for name, field in value.items()
            }
        elif keyword == "items":
            result["items"] = _translate(value, definitions, (*path, "items"))
        elif keyword == "additionalProperties" and isinstance(value, dict) and value:
            result["additionalProperties"] = _translate(value, definitions, (*path, "*"))
        elif keyword == "const":
            result["enum"] = [value]
        elif keyword == "format" and value in _FORMATS:
            result["format"] = value
        elif keyword in _KEPT:
            result[keyword] = _fill(value) if keyword == "description" else value
        elif keyword not in _DROPPED:
            raise ValueError(f"{'.'.join(path)}: {keyword} can't be expressed in a structural schema")
    if "enum" in result and "type" not in result:
        result["type"] = _ENUM_TYPES[type(result["enum"][0])]
    if result.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
    elif "type" not in result:
        result["x-kubernetes-preserve-unknown-fields"] = True
    return result


def _without_nulls(value: Any) -> Any:
    """Remove nulls at any depth, such as null defaults: no field is nullable."""
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


def _fill(text: str) -> str:
    """Join each paragraph into one line; kubectl explain wraps lines itself."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _inline(schema: dict[str, Any], definitions: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """Resolve a reference and an optional or int-or-string union; keywords beside a reference override those in it."""
    seen: set[str] = set()
    while True:
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[-1]
            if name in seen or len(path) > 32:
                raise ValueError(f"{'.'.join(path)}: {name} is recursive")
            seen.add(name)
            schema = {**definitions[name], **{key: value for key, value in schema.items() if key != "$ref"}}
        elif "anyOf" in schema:
            schema = _merge_union(schema, path)
        else:
            return schema


def _merge_union(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    options = [option for option in schema["anyOf"] if option.get("type") != "null"]
    if len(options) == 1:
        return {**options[0], **rest}
    if {option.get("type") for option in options} == {"integer", "string"}:
        return {"x-kubernetes-int-or-string": True, **rest}
    raise ValueError(f"{'.'.join(path)}: a union of models can't be expressed in a structural schema")
