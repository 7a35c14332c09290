"""Read a manifest as the API server would, without a request: one object of our kinds, its name and its spec."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import yaml
from pydantic import ValidationError

from bessemer.api.base import ApiModel, explain_validation_error
from bessemer.api.group import GROUP, VERSION
from bessemer.api.schema import compute_structural_schema
from bessemer.cli.rules import list_broken_rules
from bessemer.console.refusal import build_refusal
from bessemer.errors import Invalid
from bessemer.manifest.fields import OBJECT_NAME, list_unknown_fields
from bessemer.manifest.kubeyaml import read_documents

API_VERSION = f"{GROUP}/{VERSION}"


def parse_manifest(
    text: str, kinds: Mapping[str, type[ApiModel]], tolerated: Collection[str] = ()
) -> tuple[str, str, ApiModel]:
    """Return kind, name and spec of the only object of one of these kinds; raises Invalid naming what is wrong.

    Rules of the CRD with a message that is ``tolerated`` may be broken.
    """
    try:
        documents = [document for document in read_documents(text) if isinstance(document, dict)]
    except yaml.YAMLError as error:
        raise Invalid("InvalidManifest", f"this is no YAML: {error}") from error
    objects = [document for document in documents if document.get("kind") in kinds]
    if len(objects) != 1 or objects[0].get("apiVersion") != API_VERSION:
        wanted = f"one object of kind {' or '.join(kinds)}, apiVersion {API_VERSION}"
        raise Invalid("InvalidManifest", f"the manifest must hold {wanted}")
    model = kinds[objects[0]["kind"]]
    metadata, given = objects[0].get("metadata"), objects[0].get("spec")
    if not isinstance(given, dict):
        raise Invalid("InvalidManifest", "spec must hold fields")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not OBJECT_NAME.fullmatch(name):
        raise Invalid("InvalidManifest", "metadata.name must be a DNS name, such as oxygen: a-z, 0-9, '-' and '.'")
    schema = compute_structural_schema(model)
    unknown = list_unknown_fields(given, schema, "spec")
    try:
        spec = model.model_validate(given)
    except ValidationError as error:
        raise build_refusal([*unknown, *explain_validation_error(error, "spec").splitlines()]) from error
    broken = list_broken_rules(spec.to_api(), schema, "spec")
    wrong = [*unknown, *(line for line in broken if not line.endswith(tuple(tolerated)))]
    if wrong:
        raise build_refusal(wrong)
    return objects[0]["kind"], name, spec
