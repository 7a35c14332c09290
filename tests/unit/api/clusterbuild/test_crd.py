"""The CRD: every field is described and bounded, and the files in the tree are what the models say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from bessemer.api.clusterbuild.crd import CRD
from bessemer.api.schema import compute_structural_schema
from bessemer.crdgen import build_crd, compute_files, main, render_reference
from tests.support.checkout import ROOT

SCHEMA = build_crd(CRD)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]


def walk(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from walk(field, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")


FIELDS = [*walk(SCHEMA["spec"], "spec"), *walk(SCHEMA["status"], "status")]


@pytest.mark.parametrize(("path", "schema"), FIELDS, ids=[path for path, _ in FIELDS])
def test_every_field_is_described(path: str, schema: dict[str, Any]) -> None:
    if not path.endswith("[]") or "properties" in schema:
        assert schema.get("description", "").endswith("."), f"{path} needs a sentence under it in the model"


@pytest.mark.parametrize(("path", "schema"), [*walk(SCHEMA["spec"], "spec")])
def test_every_list_and_string_of_the_spec_is_bounded(path: str, schema: dict[str, Any]) -> None:
    if schema.get("type") == "array":
        assert "maxItems" in schema, path
        assert "x-kubernetes-list-type" in schema, path
    if schema.get("type") == "string" and "enum" not in schema:
        assert "maxLength" in schema, path


def test_the_generated_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(ROOT)]) == 0, capsys.readouterr().err


def test_check_tells_a_stale_file_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(tmp_path)]) == 1
    assert "crds/bessemer.dev_clusterbuilds.yaml is out of date" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0


def test_the_charts_crd_stays_when_the_chart_goes() -> None:
    template = compute_files()["helm/bessemer-crds/templates/bessemer.dev_clusterbuilds.yaml"]
    assert "helm.sh/resource-policy: keep" in template


def test_the_reference_has_every_field() -> None:
    text = render_reference(build_crd(CRD))
    for path, _ in FIELDS:
        if not path.endswith("[]") and "." in path:
            assert f"`{path}`" in text


def test_what_a_structural_schema_cannot_say_is_refused() -> None:
    class Pair(BaseModel):
        pair: tuple[int, str]

    class Either(BaseModel):
        one: Pair | dict[str, str]

    class Node(BaseModel):
        child: Node | None = None

    for model in (Pair, Either, Node):
        with pytest.raises(ValueError, match=r"structural schema|recursive"):
            compute_structural_schema(model)


def test_an_optional_field_is_never_null_and_an_int_or_string_says_so() -> None:
    class Model(BaseModel):
        maybe: str | None = None
        either: int | str = 1

    properties = compute_structural_schema(Model)["properties"]
    assert properties["maybe"] == {"type": "string"}
    assert properties["either"] == {"x-kubernetes-int-or-string": True, "default": 1}


def test_the_defaults_of_the_crd_hold_no_null() -> None:
    assert "null" not in json.dumps(build_crd(CRD))
