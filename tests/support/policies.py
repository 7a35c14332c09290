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
Refusal = tuple[str, str | None]
"""A message, and the switch of the chart's values that lifts the rule."""


@dataclass
class User:
    """The user who writes an object, with the rights in its namespace."""

    allowed: Callable[[Question], bool]
    asked: list[Question] = field(default_factory=list)


class Authorizer(MapType):
    """The API server's ``authorizer`` and each step of a query to it: the user, and the parts given so far."""

    def __init__(self, user: User, parts: Mapping[Value, Value] | None = None) -> None:
        super().__init__(parts or {})
        self.user = user


def make_user(*allowed: str) -> User:
    """Return a user with these rights, such as ``create pods``, ``get secrets`` or ``get secrets/token``."""
    return User(lambda question: bool({f"{question[2]} {question[1]}", "{2} {1}/{3}".format(*question)} & set(allowed)))


ADMIN = User(lambda _question: True)


@cache
def load_policies(file: str) -> Any:
    """Return the content of a file with policies; it is large."""
    return yaml.safe_load((FILES / file).read_text())


def load_author_policies(plural: str) -> tuple[list[dict[str, str]], list[list[dict[str, str]]]]:
    """Return the variables and the rules of a kind's policies."""
    found = load_policies("author-policies.yaml")[plural]
    return found["variables"], found["policies"]


def list_refusals(plural: str, spec: Mapping[str, Any], user: User, allow: Iterable[str] = ()) -> list[str]:
    """Return the refusals of the policies for authors, empty if the object is accepted; ``allow`` are switches."""
    return _select(find_author_refusals(plural, spec, user), allow)


def find_author_refusals(plural: str, spec: Mapping[str, Any], user: User) -> list[Refusal]:
    """Return the refusals of the policies for authors where nothing is switched on."""
    variables, policies = load_author_policies(plural)
    rules = [rule for policy in policies for rule in policy]
    return _find(rules, variables, {"object": {"spec": spec}, "oldObject": None}, user)


def evaluate(
    rules: Iterable[Mapping[str, str]],
    variables: Iterable[Mapping[str, str]],
    given: Mapping[str, Any],
    user: User = ADMIN,
    allow: Iterable[str] = (),
) -> list[str]:
    """Return the messages of the rules that fail; a rule that can't be evaluated fails."""
    return _select(_find(rules, variables, given, user), allow)


def _select(refusals: Iterable[Refusal], allow: Iterable[str]) -> list[str]:
    return [message for message, switch in refusals if switch not in set(allow)]


def _find(
    rules: Iterable[Mapping[str, str]], variables: Iterable[Mapping[str, str]], given: Mapping[str, Any], user: User
) -> list[Refusal]:
    operation = "DELETE" if given["object"] is None else "CREATE" if given["oldObject"] is None else "UPDATE"
    whole = {"namespace": NAMESPACE, **given}
    whole["request"] = {"namespace": whole.pop("namespace"), "operation": operation}
    activation = {name: json_to_cel(value) for name, value in whole.items()} | {"authorizer": Authorizer(user)}
    values = MapType()
    activation["variables"] = values
    for variable in variables:
        value = _run(variable["expression"], activation)
        if not isinstance(value, CELEvalError):
            values[StringType(variable["name"])] = value
    refused = []
    for rule in rules:
        if _run(rule["expression"], activation) != BoolType(True):
            message = (
                str(_run(rule["messageExpression"], activation)) if "messageExpression" in rule else rule["message"]
            )
            refused.append((message, rule.get("unless")))
    return refused


def _put(key: str) -> Callable[[Authorizer, Value], Authorizer]:
    def step(state: Authorizer, value: Value) -> Authorizer:
        return Authorizer(state.user, {**state, StringType(key): value})

    return step


def _allowed(state: Authorizer) -> BoolType:
    plain = {str(key): str(value) for key, value in state.items()}
    assert plain["namespace"] == NAMESPACE
    resource = plain["resource"] + (f"/{plain['subresource']}" if "subresource" in plain else "")
    question = (plain["group"], resource, plain["check"], plain.get("name", ""))
    state.user.asked.append(question)
    return BoolType(state.user.allowed(question))


FUNCTIONS: dict[str, Any] = {
    **{key: _put(key) for key in ("group", "resource", "subresource", "namespace", "name", "check")},
    "allowed": _allowed,
    "join": lambda parts, between: StringType(between.join(parts)),
    "split": lambda text, between: ListType([StringType(part) for part in text.split(between)]),
}
"""The functions of the API server's CEL that celpy does not have."""


@cache
def _get_environment() -> celpy.Environment:
    """Return the environment that compiles all rules; creating it is slow."""
    return celpy.Environment()


@cache
def _compile(expression: str) -> celpy.Runner:
    environment = _get_environment()
    return environment.program(environment.compile(expression), functions=FUNCTIONS)


def _run(expression: str, activation: dict[str, Any]) -> Any:
    try:
        return _compile(expression).evaluate(activation)
    except CELEvalError as error:
        return error
