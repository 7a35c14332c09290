"""Generate CRDs, their field reference, admission policies and roles from the kinds; ``--check`` only compares them.

``python -m bessemer.crdgen [--check] [ROOT]`` writes ``crds/*.yaml``, the chart's copies of them,
``docs/user/*-reference.md`` and ``helm/bessemer/files/*.yaml`` below ROOT (default: the working directory).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from bessemer import registry
from bessemer.api.admission import build_policies
from bessemer.api.crd import CustomResource
from bessemer.api.group import GROUP, VERSION
from bessemer.api.schema import compute_structural_schema
from bessemer.engine.roles import build_roles

GENERATED = "Generated from the models by `make crds`. Do not edit."


class _PlainDumper(yaml.SafeDumper):
    """Writes no anchors and aliases: they are hard to read, and not every YAML parser supports them."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  the base class passes it
        """Return True: never write an alias."""
        return True


def build_crd(kind: CustomResource) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind."""
    spec, status = kind.models
    schema = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"{kind.kind}."},
            "metadata": {"type": "object"},
            "spec": compute_structural_schema(spec),
            "status": compute_structural_schema(status),
        },
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}, **({"scale": kind.scale} if kind.scale else {})},
        "additionalPrinterColumns": [dict(column) for column in kind.columns],
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short_name],
                "categories": ["bessemer"],
            },
            "versions": [version],
        },
    }


def list_crds() -> list[CustomResource]:
    """List what the CRDs of all kinds are generated from."""
    return [kind.get_crd() for kind in registry.KINDS]


def build_author_policies() -> dict[str, Any]:
    """Return the admission policies for authors of objects, by the plural of the kind."""
    return {kind.plural: build_policies(kind.kind, kind.models[0], kind.rules, kind.variables) for kind in list_crds()}


def render_yaml(content: Any) -> str:
    """Return a CRD, or another file of the chart, as YAML."""
    return f"# {GENERATED}\n" + yaml.dump(content, Dumper=_PlainDumper, sort_keys=False, width=110, allow_unicode=True)


def render_chart_template(crd: dict[str, Any]) -> str:
    """Return the CRD as a chart template; it is kept on uninstall, so that removing the chart removes no cluster."""
    kept = {**crd, "metadata": {**crd["metadata"], "annotations": {"helm.sh/resource-policy": "keep"}}}
    text = render_yaml(kept)
    if "{{" in text:
        raise ValueError("a description contains '{{', which Helm would read as a template")
    return text


def render_reference(crd: dict[str, Any]) -> str:
    """Return the field reference of a CRD as Markdown: a table of the spec and one of the status."""
    version = crd["spec"]["versions"][0]
    names = crd["spec"]["names"]
    schema = version["schema"]["openAPIV3Schema"]
    lines = [
        f"# {names['kind']}: every field",
        "",
        f"<!-- {GENERATED} -->",
        "",
        f"`apiVersion: {GROUP}/{VERSION}`, `kind: {names['kind']}`, short name `{names['shortNames'][0]}`.",
        schema["description"],
        "",
        "`kubectl explain` shows the same descriptions: `kubectl explain " + names["singular"] + ".spec`.",
    ]
    for part in ("spec", "status"):
        lines += ["", f"## {part}", "", "| field | type | default | bounds | meaning |", "|---|---|---|---|---|"]
        lines += _render_rows(schema["properties"][part], part)
        lines += _render_rules(schema["properties"][part], part)
    return "\n".join(lines) + "\n"


def _name_type(schema: dict[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    return str(schema.get("type", "any"))


def _render_rows(schema: dict[str, Any], path: str) -> list[str]:
    rows = []
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        items = field.get("items", {})
        kind = _name_type(field) + (f" of {_name_type(items)}" if items else "")
        default = field.get("default", "required" if name in schema.get("required", []) else "")
        shown = "" if isinstance(default, dict | list) else str(default)
        text = field.get("description", "").replace("|", "\\|").replace("\n", " ")
        rows.append(f"| `{here}` | {kind} | {shown} | {_render_bounds(field)} | {text} |")
        rows += _render_rows(items if items else field, f"{here}[]" if items else here)
    return rows


def _render_bounds(field: dict[str, Any]) -> str:
    limits = {
        "minimum": "≥ {}",
        "maximum": "≤ {}",
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
        "minItems": "at least {} items",
        "maxItems": "at most {} items",
        "maxProperties": "at most {} entries",
    }
    parts = [text.format(field[key]) for key, text in limits.items() if key in field]
    if "enum" in field:
        parts.append("one of " + ", ".join(map(str, field["enum"])))
    if "pattern" in field:
        parts.append("`" + field["pattern"].replace("|", "\\|") + "`")
    return ", ".join(parts)


def _render_rules(schema: dict[str, Any], path: str) -> list[str]:
    found: list[str] = []

    def visit(node: dict[str, Any], here: str) -> None:
        found.extend(f"- `{here}`: {rule['message']}" for rule in node.get("x-kubernetes-validations", []))
        for name, field in node.get("properties", {}).items():
            visit(field, f"{here}.{name}")
        if "items" in node:
            visit(node["items"], f"{here}[]")

    visit(schema, path)
    return ["", "Additional rules, checked by the API server:", "", *found] if found else []


def compute_files() -> dict[str, str]:
    """Return the text of every generated file by its path relative to the project's root."""
    files = {}
    for kind in list_crds():
        crd = build_crd(kind)
        file_name = f"{GROUP}_{kind.plural}.yaml"
        files[f"crds/{file_name}"] = render_yaml(crd)
        files[f"helm/bessemer-crds/templates/{file_name}"] = render_chart_template(crd)
        files[f"docs/user/{kind.kind.lower()}-reference.md"] = render_reference(crd)
        files |= {f"helm/bessemer/files/{name}": render_yaml(content) for name, content in kind.files.items()}
    files["helm/bessemer/files/author-policies.yaml"] = render_yaml(build_author_policies())
    files["helm/bessemer/files/roles.yaml"] = render_yaml(build_roles(registry.KINDS))
    return files


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with ``--check`` list those that are out of date; exit code 1 if there are any."""
    parser = argparse.ArgumentParser(prog="bessemer.crdgen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    parser.add_argument("root", nargs="?", type=Path, default=Path(), help="the project's root")
    options = parser.parse_args(arguments)
    stale = 0
    for name, text in compute_files().items():
        path = options.root / name
        if path.is_file() and path.read_text() == text:
            continue
        if options.check:
            sys.stderr.write(f"{name} is out of date: run `make crds`\n")
            stale += 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
