"""What the API server refuses beyond types, patterns and bounds: a CRD's CEL rules, and lists with the same twice.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import celpy
import re2
from celpy.adapter import json_to_cel
from celpy.celtypes import BoolType, StringType
from celpy.evaluation import CELEvalError

_QUIET = re2.Options()
_QUIET.log_errors = False


def list_broken_rules(value: Any, schema: Mapping[str, Any], path: str) -> list[str]:
    """List the rules of a structural schema that a value breaks, with the field that each is about.

    A rule that can't be evaluated is broken, as it is for the API server.
    """
    rules = schema.get("x-kubernetes-validations", ())
    found = [f"{path}: {rule['message']}" for rule in rules if not _holds(rule["rule"], value)]
    if isinstance(value, list):
        found += _list_duplicates(value, schema, path)
        for at, item in enumerate(value):
            found += list_broken_rules(item, schema.get("items", {}), f"{path}[{at}]")
    elif isinstance(value, dict):
        fields = schema.get("properties", {})
        for name, field in value.items():
            found += list_broken_rules(field, fields.get(name, {}), f"{path}.{name}")
    return found


@cache
def _get_environment() -> celpy.Environment:
    """Return the one that compiles all rules: it takes its time to be made."""
    return celpy.Environment()


def _holds(rule: str, value: Any) -> bool:
    environment = _get_environment()
    program = environment.program(environment.compile(rule), functions={"matches": _match})
    try:
        return program.evaluate({"self": json_to_cel(value)}) == BoolType(True)
    except CELEvalError:
        return False


def _match(text: StringType, pattern: StringType) -> BoolType | CELEvalError:
    """Match as celpy does, but without RE2 writing a pattern that it can't read to the terminal: it is foreign text."""
    try:
        return BoolType(re2.compile(pattern, _QUIET).search(text) is not None)
    except re2.error as error:
        return CELEvalError("match error", type(error), error.args)


def _list_duplicates(value: list[Any], schema: Mapping[str, Any], path: str) -> list[str]:
    """List the items that are there already, in a set, or by their keys, in a map."""
    kind = schema.get("x-kubernetes-list-type")
    if kind not in ("set", "map"):
        return []
    keys = schema.get("x-kubernetes-list-map-keys", ())
    items = value if kind == "set" else [{key: item.get(key) for key in keys} for item in value]
    return [f"{path}[{at}]: Duplicate value: {item}" for at, item in enumerate(items) if item in items[:at]]
