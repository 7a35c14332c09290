"""Evaluates the chart's admission policies as the API server does, without one: their CEL, and the users' rights.

tests/e2e/test_rights.py tests the same policies on a real API server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import celpy
import yaml
from celpy.adapter import json_to_cel
from celpy.celtypes import BoolType, ListType, MapType, StringType, Value
from celpy.evaluation import CELEvalError

from tests.support.checkout import ROOT

FILES = ROOT / "helm" / "bessemer" / "files"
NAMESPACE = "tenant"
Question = tuple[str, str, str, str]
"""Group, resource (with its subresource), verb, name."""


@dataclass
class User:
    """The user who writes an object, with the rights in its namespace."""

    allowed: Callable[[Question], bool]
    asked: list[Question] = field(default_factory=list)


def make_user(*allowed: str) -> User:
    """Return a user with these rights, such as ``create pods``, ``get secrets`` or ``get secrets/token``."""
    return User(lambda question: bool({f"{question[2]} {question[1]}", "{2} {1}/{3}".format(*question)} & set(allowed)))


ADMIN = User(lambda _question: True)


def load_author_policies(plural: str) -> tuple[list[dict[str, str]], list[list[dict[str, str]]]]:
    """Return the variables and the rules of a kind's policies."""
    found = yaml.safe_load((FILES / "author-policies.yaml").read_text())[plural]
    return found["variables"], found["policies"]


def list_refusals(plural: str, spec: Mapping[str, Any], user: User, allow: Iterable[str] = ()) -> list[str]:
    """Return the refusals of the policies for authors, empty if the object is accepted; ``allow`` are switches."""
    variables, policies = load_author_policies(plural)
    rules = [rule for policy in policies for rule in policy]
    return evaluate(rules, variables, {"object": {"spec": spec}, "oldObject": None}, user, allow)


def evaluate(
    rules: Iterable[Mapping[str, str]],
    variables: Iterable[Mapping[str, str]],
    given: Mapping[str, Any],
    user: User = ADMIN,
    allow: Iterable[str] = (),
) -> list[str]:
    """Return the messages of the rules that fail; a rule that can't be evaluated fails."""
    operation = "DELETE" if given["object"] is None else "CREATE" if given["oldObject"] is None else "UPDATE"
    whole = {"namespace": NAMESPACE, **given}
    whole["request"] = {"namespace": whole.pop("namespace"), "operation": operation}
    activation = {name: json_to_cel(value) for name, value in whole.items()} | {"authorizer": MapType()}
    functions = _build_functions(user)
    values = MapType()
    activation["variables"] = values
    for variable in variables:
        value = _run(variable["expression"], activation, functions)
        if not isinstance(value, CELEvalError):
            values[StringType(variable["name"])] = value
    refused = []
    for rule in rules:
        if rule.get("unless") not in set(allow) and _run(rule["expression"], activation, functions) != BoolType(True):
            refused.append(rule["message"])
            if "messageExpression" in rule:
                refused[-1] = str(_run(rule["messageExpression"], activation, functions))
    return refused


@cache
def _get_environment() -> celpy.Environment:
    """Return the environment that compiles all rules; creating it is slow."""
    return celpy.Environment()


@cache
def _compile(expression: str) -> Any:
    return _get_environment().compile(expression)


def _run(expression: str, activation: dict[str, Any], functions: dict[str, Any]) -> Any:
    try:
        return _get_environment().program(_compile(expression), functions=functions).evaluate(activation)
    except CELEvalError as error:
        return error


def _build_functions(user: User) -> dict[str, Any]:
    """Return the functions of the API server's CEL that celpy does not have."""

    def put(key: str) -> Callable[[MapType, Value], MapType]:
        def step(state: MapType, value: Value) -> MapType:
            return MapType({**state, StringType(key): value})

        return step

    def allowed(state: MapType) -> BoolType:
        plain = {str(key): str(value) for key, value in state.items()}
        assert plain["namespace"] == NAMESPACE
        resource = plain["resource"] + (f"/{plain['subresource']}" if "subresource" in plain else "")
        question = (plain["group"], resource, plain["check"], plain.get("name", ""))
        user.asked.append(question)
        return BoolType(user.allowed(question))

    steps = {key: put(key) for key in ("group", "resource", "subresource", "namespace", "name", "check")}
    return {
        **steps,
        "allowed": allowed,
        "join": lambda parts, between: StringType(between.join(parts)),
        "split": lambda text, between: ListType([StringType(part) for part in text.split(between)]),
    }
