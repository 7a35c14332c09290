"""Admission policies of the chart: an object can do no more than its author could do without it. Pure.

The operator acts on behalf of the authors of ClusterBuilds and RunnerPools, with its own permissions. So the API server
checks whether the author may create pods in the namespace and read each object that the spec names; anything beyond the
usual permissions of a pod must be enabled by the administrator. Expressions are CEL, see
https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/

The cost budget allows an expression two authorizer checks, and all expressions of a policy together 28. So names in
lists are checked in pairs, and checks are spread over several policies.
Source: RuntimeCELCostBudget and PerCallLimit in k8s.io/apiserver/pkg/apis/cel/config.go; CallCost("check") in
k8s.io/apiserver/pkg/cel/library/cost.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from bessemer.api.fields import ReferenceTo

CHECKS_PER_POLICY = 24
CHECKS_PER_EXPRESSION = 2
Rule = dict[str, Any]


@dataclass(frozen=True)
class Reference:
    """A field of a spec that names an object."""

    path: tuple[str, ...]
    """Names of the fields below the spec, as in the API; a list ends in ``[]``."""
    target: ReferenceTo
    most: int
    """Maximum number of objects that the field can name."""

    @property
    def field(self) -> str:
        """The field as it is shown in messages: without a final ``.name``."""
        shown = self.path[:-1] if self.path[-1] == "name" else self.path
        return ".".join(("spec", *shown)).removesuffix("[]")


@dataclass(frozen=True)
class Validation:
    """One rule of a policy."""

    expression: str
    message: str
    message_expression: str | None = None
    unless: str | None = None
    """The chart's switch under ``policies.allow`` that disables the rule."""
    checks: int = 0
    """Number of authorizer checks in the expression."""

    def to_rule(self) -> Rule:
        """Return the rule as the chart's template reads it."""
        rule: Rule = {"expression": self.expression, "message": self.message}
        if self.message_expression is not None:
            rule["messageExpression"] = self.message_expression
        if self.unless is not None:
            rule["unless"] = self.unless
        return rule


def list_references(model: type[BaseModel]) -> list[Reference]:
    """List the fields below a model that name objects, in the order of the spec."""
    return list(_walk(model, (), 1))


def _walk(model: type[BaseModel], path: tuple[str, ...], most: int) -> Iterator[Reference]:
    for name, field in model.model_fields.items():
        here = (*path, field.alias or to_camel(name))
        marks = [*field.metadata, *_list_marks(field.annotation)]
        lengths = [mark.max_length for mark in field.metadata if hasattr(mark, "max_length")]
        listed = getattr(field.annotation, "__origin__", None) is list
        for mark in marks:
            if isinstance(mark, ReferenceTo):
                named = (*path, f"{here[-1]}[]") if listed else here
                if "".join(named).count("[]") > 1:
                    raise ValueError(f"{'.'.join(here)}: references in nested lists are not supported")
                yield Reference(named, mark, min(lengths) if listed else most)
        for inner, repeated in _list_models(field.annotation):
            step = (*path, f"{here[-1]}[]") if repeated else here
            yield from _walk(inner, step, min(lengths) if repeated and lengths else most)


def _list_marks(annotation: Any) -> list[Any]:
    """List the metadata of an annotation such as ``Annotated[str, mark] | None``."""
    marks = list(getattr(annotation, "__metadata__", ()))
    if isinstance(annotation, type):
        return marks
    return marks + [mark for part in get_args(annotation) for mark in _list_marks(part)]


def _list_models(annotation: Any, *, repeated: bool = False) -> list[tuple[type[BaseModel], bool]]:
    """List the models in an annotation such as ``list[Model] | None``, and whether each may occur several times."""
    origin = getattr(annotation, "__origin__", None)
    if isinstance(annotation, type) and origin is None:
        return [(annotation, repeated)] if issubclass(annotation, BaseModel) else []
    many = repeated or origin in (list, tuple, set, frozenset, dict)
    return [found for part in get_args(annotation) for found in _list_models(part, repeated=many)]


def build_policies(kind: str, model: type[BaseModel], further: Sequence[Validation], variables: Sequence[Rule]) -> Rule:
    """Return the policies of a kind: who may write it, which objects it may name, then the kind-specific rules."""
    pods = Validation(
        _ask("", "pods", "create"),
        f"{kind}: you must be allowed to create pods in this namespace, as it runs pods for you; ask for the verb "
        "create on pods",
        checks=1,
    )
    named: list[Validation] = []
    lists: list[Rule] = list(variables)
    for reference in list_references(model):
        variable = _name_variable(reference)
        lists.append({"name": variable, "expression": build_names(reference)})
        named += build_checks(variable, reference.target, reference.field, reference.most)
    return {"kind": kind, "variables": lists, "policies": _split([pods, *named, *further])}


def _split(validations: Sequence[Validation]) -> list[list[Rule]]:
    """Spread validations over policies, so that each stays within its cost budget."""
    policies: list[list[Rule]] = [[]]
    spent = 0
    for validation in validations:
        if spent + validation.checks > CHECKS_PER_POLICY:
            policies.append([])
            spent = 0
        policies[-1].append(validation.to_rule())
        spent += validation.checks
    return policies


def build_checks(variable: str, target: ReferenceTo, field: str, most: int) -> list[Validation]:
    """Return the rules for a list of names: the author may read each; at most ``most`` can be checked."""
    names = f"variables.{variable}"
    what = {"secrets": "Secret", "serviceaccounts": "ServiceAccount", "clusterbuilds": "ClusterBuild"}[target.plural]
    message = f"{field}: you must be allowed to get each {what} that it names, in this namespace"
    shown = f"'{field}: you must be allowed to get {what} ' + {{}} + ' in this namespace (verb get on {target.plural})'"
    found = []
    for first in range(0, most, CHECKS_PER_EXPRESSION):
        ends = range(first, min(first + CHECKS_PER_EXPRESSION, most))
        asked = [
            f"(size({names}) <= {at} || {_ask(target.group, target.plural, 'get', f'{names}[{at}]')})" for at in ends
        ]
        listed = f"{names}[{first}]" if most == 1 else f"{names}.join(', ')"
        found.append(Validation(" && ".join(asked), message, shown.format(listed), checks=len(asked)))
    if most > 1:
        found.append(Validation(f"size({names}) <= {most}", f"{field}: names more than {most} {target.plural}"))
    return found


def _ask(group: str, resource: str, verb: str, name: str | None = None, subresource: str = "") -> str:
    """Return the expression that checks whether the author may do something in the namespace of the request."""
    narrowed = (f".subresource('{subresource}')" if subresource else "") + ".namespace(request.namespace)"
    named = f".name({name})" if name is not None else ""
    return f"authorizer.group('{group}').resource('{resource}'){narrowed}{named}.check('{verb}').allowed()"


def build_may_do(rules: Sequence[Rule], guard: str, message: str) -> list[Validation]:
    """Return the rules that require the author to have all permissions of a role, unless ``guard`` holds."""
    found = []
    for rule in rules:
        for group in rule["apiGroups"]:
            for full in rule["resources"]:
                resource, _, subresource = full.partition("/")
                for verb in rule["verbs"]:
                    asked = _ask(group, resource, verb, subresource=subresource)
                    text = f"{message}; you lack the verb {verb} on {full}"
                    found.append(Validation(f"{guard} || {asked}", text, checks=1))
    return found


def unless(switch: str, *validations: Validation) -> list[Validation]:
    """Return the same rules, disabled by a switch of the chart."""
    return [replace(validation, unless=switch) for validation in validations]


def build_names(reference: Reference) -> str:
    """Return the expression for the list of names in a field; an empty list if the field is absent."""
    here, guards = "object.spec", []
    for at, step in enumerate(reference.path):
        plain = step.removesuffix("[]")
        guards.append(f"has({here}.{plain})")
        here = f"{here}.{plain}"
        if step.endswith("[]"):
            inner = reference.path[at + 1 :]
            if not inner:
                return f"{' && '.join(guards)} ? {here} : []"
            held = " && ".join(f"has(x.{'.'.join(inner[: end + 1])})" for end in range(len(inner)))
            inside = ".".join(("x", *inner))
            return f"{' && '.join(guards)} ? {here}.filter(x, {held}).map(x, {inside}) : []"
    return f"{' && '.join(guards)} ? [{here}] : []"


def _name_variable(reference: Reference) -> str:
    steps = [step.removesuffix("[]") for step in reference.path]
    return steps[0] + "".join(step[0].upper() + step[1:] for step in steps[1:])
