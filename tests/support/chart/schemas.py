"""JSON schemas for kubeconform, from pinned sources: the OpenAPI documents of the Kubernetes releases, and CRDs.

kubeconform downloads schemas from GitHub by default; these come from Go modules, as the programs do. They are strict:
an object with a field that the API server does not know is refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from local_kubernetes.binaries.components import DEFAULT_KUBERNETES, KUBERNETES_RELEASES
from local_kubernetes.binaries.modules import get_module
from local_kubernetes.storage import get_cache_directory, locked
from tests.support.checkout import ROOT

LOCATION = "{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json"
"""How kubeconform finds the schema of an object in a folder; the kind is in lower case."""
MONITORING = "github.com/prometheus-operator/prometheus-operator"
SERVICE_MONITORS = "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"
OWN_CRDS = ROOT / "helm" / "bessemer-crds" / "templates"
_REFERENCE = "#/definitions/"
_INT_OR_STRING = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
_LOOSE = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _INT_OR_STRING,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
}
"""Definitions that are strings in the document, but may have other types in YAML."""
_PARTS = {"allOf", "anyOf", "oneOf", "not"}
"""Keywords whose subschemas describe some fields of an object without naming its other fields."""


def get_schemas(minor: str) -> Path:
    """Return the folder with the schemas of one Kubernetes release and of ServiceMonitors; created once."""
    modfile = "go.mod" if minor == DEFAULT_KUBERNETES else f"kube-{minor}.mod"
    monitoring = get_module("prometheus-operator", MONITORING)
    key = hashlib.sha256(Path(__file__).read_bytes() + monitoring.name.encode()).hexdigest()[:16]
    folder = get_cache_directory() / "schemas" / f"{KUBERNETES_RELEASES[minor]}-{key}"
    with locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            kubernetes = get_module("kube", "k8s.io/kubernetes", modfile)
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            write_kinds(unfinished, json.loads((kubernetes / "api" / "openapi-spec" / "swagger.json").read_text()))
            write_crd(unfinished, monitoring / SERVICE_MONITORS)
            unfinished.rename(folder)
    return folder


def write_own_schemas(folder: Path) -> None:
    """Write the schemas of the project's own kinds."""
    for crd in OWN_CRDS.glob("*.yaml"):
        write_crd(folder, crd)


def write_kinds(folder: Path, document: Mapping[str, Any]) -> None:
    """Write one schema for each kind of an OpenAPI document (version 2), with the definitions that it needs."""
    definitions = {name: _LOOSE.get(name, close(schema)) for name, schema in document["definitions"].items()}
    for name, schema in document["definitions"].items():
        needed = {used: definitions[used] for used in sorted(list_needed(name, definitions))}
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            _write(folder, kind, {"$ref": _REFERENCE + name, "definitions": needed})


def write_crd(folder: Path, path: Path) -> None:
    """Write one schema for each version of a CustomResourceDefinition."""
    crd = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)["spec"]
    for version in crd["versions"]:
        schema = close(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        kind = {"group": crd["group"], "version": version["name"], "kind": crd["names"]["kind"]}
        _write(folder, kind, schema)


def close(schema: Any) -> Any:
    """Return a schema that allows only the fields that it names, at any depth."""
    if isinstance(schema, list):
        return [close(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: value if key in _PARTS else close(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "x-kubernetes-preserve-unknown-fields" not in schema:
        result.setdefault("additionalProperties", False)
    return result


def list_needed(name: str, definitions: Mapping[str, Any]) -> set[str]:
    """Return the names of a definition and of all definitions that it refers to."""
    needed: set[str] = set()
    left = [name]
    while left:
        one = left.pop()
        if one not in needed:
            needed.add(one)
            left += _list_references(definitions[one])
    return needed


def _list_references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.removeprefix(_REFERENCE)
        for value in schema.values():
            yield from _list_references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _list_references(value)


def _write(folder: Path, kind: Mapping[str, str], schema: Mapping[str, Any]) -> None:
    group = kind["group"] or kind["version"]  # what kubeconform takes for the group of the core
    name = f"{kind['kind'].lower()}-{group}-{kind['version']}.json"
    (folder / name).write_text(json.dumps(schema))
