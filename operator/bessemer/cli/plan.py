"""Show what a manifest would do; reads nothing but the manifest."""

from __future__ import annotations

from bessemer import registry
from bessemer.cli.manifest import parse_manifest
from bessemer.console.form import Form


def print_plan(text: str, form: Form | None = None) -> None:
    """Print the plan of a manifest; raises Invalid with all that is wrong."""
    views = {kind.name: kind.get_view() for kind in registry.KINDS}
    models = {kind.name: kind.get_crd().models[0] for kind in registry.KINDS}
    tolerated = {message for view in views.values() for message in view.tolerated}
    kind, name, spec = parse_manifest(text, models, tolerated)
    views[kind].print_plan(name, spec, form)
