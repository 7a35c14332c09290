"""Every field of every spec is read by the code outside of its model, and its effect is documented."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.runnerpool.podtypes import PodPart
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from tests.support.checkout import ROOT

PACKAGE = ROOT / "operator" / "bessemer"
UNREAD: dict[str, str] = {}
"""Fields that nothing reads, and why that is right."""


def find_models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Find the models in a field's annotation."""
    origin = get_origin(annotation)
    if origin is Annotated or origin in (Union, UnionType, list, dict, tuple):
        for part in get_args(annotation):
            yield from find_models(part)
    elif inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation


def list_fields(model: type[BaseModel], path: str = "spec") -> Iterator[tuple[str, type[BaseModel], str]]:
    """List all fields below a model: the path in a manifest, the model that has the field, its name in Python."""
    for name, field in model.model_fields.items():
        at = f"{path}.{field.alias or name}"
        yield at, model, name
        for inner in find_models(field.annotation):
            if not issubclass(inner, PodPart):  # which is rendered whole, as it is given
                yield from list_fields(inner, at)


@functools.cache
def find_reads() -> dict[str, set[str]]:
    """Find which attributes the code reads, each with the modules that do, but for what a model reads of itself."""
    reads: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(("bessemer", *path.relative_to(PACKAGE).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                itself = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                reads.setdefault(node.attr, set()).update(() if itself else {module})
    return reads


@pytest.mark.parametrize("spec", [ClusterBuildSpec, RunnerPoolSpec, BuildTriggerSpec])
def test_every_field_of_a_spec_is_read_by_the_code(spec: type[BaseModel]) -> None:
    reads = find_reads()
    unread = [
        path
        for path, model, name in list_fields(spec)
        if not reads.get(name, set()) - {model.__module__} and path not in UNREAD
    ]
    assert unread == []


@pytest.mark.parametrize("spec", [ClusterBuildSpec, RunnerPoolSpec, BuildTriggerSpec])
def test_every_field_of_a_spec_says_what_it_does(spec: type[BaseModel]) -> None:
    silent = [path for path, model, name in list_fields(spec) if not model.model_fields[name].description]
    assert silent == []
