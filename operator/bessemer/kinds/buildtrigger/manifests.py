"""The ClusterBuilds in the files of a repository. Pure.

A file is read as kubectl reads it, and may contain ClusterBuilds only. What it may name is decided by
:mod:`policy`; what a ClusterBuild must look like is decided by the API server as well, when it is applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from pydantic import ValidationError

from bessemer.api.base import apply_merge_patch, explain_validation_error
from bessemer.api.clusterbuild.names import KIND
from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.group import API_VERSION, GROUP
from bessemer.api.schema import compute_structural_schema
from bessemer.api.wellknown import MANAGED_BY_LABEL
from bessemer.errors import Invalid
from bessemer.foreign import DEEPEST, compute_depth, is_finite, make_line
from bessemer.manifest.fields import OBJECT_NAME, complete_commit, list_unknown_fields
from bessemer.manifest.kubeyaml import read_documents

MOST_CLUSTERS = 64
"""Maximum number of ClusterBuilds of one event."""
MOST_MARKS = 200_000
"""Maximum number of line ends, commas, brackets and colons in all files of one event: for each, PyYAML takes up to a
tenth of a millisecond, and a hundred bytes are kept while the event waits. A manifest of a thousand nodes has 3,000."""
_LINE_ENDS = tuple(mark.encode() for mark in ("\n", "\r", "\x85", "\u2028", "\u2029"))
"""All that YAML 1.1 takes for one."""
_MARKS = (*_LINE_ENDS, b",", b"[", b"{", b": ")
MOST_LINES = 16
"""Maximum number of problems that are listed."""
_METADATA = frozenset({"name", "namespace", "labels", "annotations"})
_RESERVED_DOMAINS = (GROUP, "kubernetes.io", "k8s.io")
"""And those below them: https://kubernetes.io/docs/reference/labels-annotations-taints/"""
_RECOMMENDED = "app.kubernetes.io"
"""Labels for people and tools: https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/"""


@dataclass(frozen=True)
class Cluster:
    """A ClusterBuild that a manifest asks for."""

    path: str
    """The file in the repository."""
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: ClusterBuildSpec
    """The spec with the trigger's overrides."""

    def build_spec(self) -> dict[str, Any]:
        """Return the spec as it is applied: just what was checked, without defaults."""
        return self.spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def parse_clusters(
    files: Mapping[str, bytes], namespace: str, overrides: Mapping[str, Any], commit: str
) -> list[Cluster]:
    """Return the ClusterBuilds of all files; raises Invalid InvalidManifest with all that is wrong."""
    if sum(content.count(mark) for content in files.values() for mark in _MARKS) > MOST_MARKS:
        text = f"more than {MOST_MARKS} line ends, commas, brackets and colons in all files together"
        raise Invalid("InvalidManifest", text)
    found: list[Cluster] = []
    wrong: list[str] = []
    for path in sorted(files):
        for document in _read(path, files[path], wrong):
            try:
                found.append(_parse_cluster(path, document, namespace, overrides, commit))
            except Invalid as error:
                wrong += error.message.splitlines()
    names = [cluster.name for cluster in found]
    wrong += [f"ClusterBuild {name} is there more than once" for name in sorted(set(names)) if names.count(name) > 1]
    if len(found) > MOST_CLUSTERS:
        wrong.append(f"there are more than {MOST_CLUSTERS} ClusterBuilds")
    if wrong:
        raise Invalid("InvalidManifest", join_lines(wrong))
    return found


def join_lines(lines: Iterable[str]) -> str:
    """Return problems as one text, of a bounded number of lines."""
    shown = [make_line(line, 300) for line in lines]
    more = [f"and {len(shown) - MOST_LINES} more"] if len(shown) > MOST_LINES else []
    return "\n".join([*shown[:MOST_LINES], *more])


def _read(path: str, content: bytes, wrong: list[str]) -> list[Any]:
    try:
        documents = [document for document in read_documents(content.decode()) if document is not None]
    except UnicodeDecodeError:
        wrong.append(f"{path}: is no text in UTF-8")
        return []
    except yaml.YAMLError as error:
        wrong.append(f"{path}: is no YAML: {error}")
        return []
    return documents


def _parse_cluster(path: str, document: Any, namespace: str, overrides: Mapping[str, Any], commit: str) -> Cluster:
    """Return the ClusterBuild of a document; raises Invalid with a line for each problem."""
    if not isinstance(document, dict) or document.get("kind") != KIND or document.get("apiVersion") != API_VERSION:
        raise _refuse(path, f"may contain objects of kind {KIND}, apiVersion {API_VERSION} only")
    if compute_depth(document) > DEEPEST or not is_finite(document):
        raise _refuse(path, f"is nested deeper than {DEEPEST} levels, or has a number that is too large")
    metadata, given = document.get("metadata"), document.get("spec")
    if not isinstance(metadata, dict) or not isinstance(given, dict):
        raise _refuse(path, "metadata and spec must be objects")
    name = metadata.get("name")
    if not isinstance(name, str) or not OBJECT_NAME.fullmatch(name) or len(name) > 253:
        raise _refuse(path, "metadata.name must be a DNS name, such as oxygen: a-z, 0-9, '-' and '.'")
    _check_metadata(path, name, metadata, namespace)
    given = complete_commit(apply_merge_patch(given, overrides), commit)
    return Cluster(
        path=path,
        name=name,
        labels=_parse_texts(path, metadata, "labels"),
        annotations=_parse_texts(path, metadata, "annotations"),
        spec=_parse_spec(path, name, given),
    )


def _check_metadata(path: str, name: str, metadata: Mapping[str, Any], namespace: str) -> None:
    more = sorted(set(metadata) - _METADATA)
    if more:
        raise _refuse(path, f"{name}: metadata.{more[0]} can't be set")
    if metadata.get("namespace", namespace) != namespace:
        raise _refuse(path, f"{name}: metadata.namespace: only {namespace}, the trigger's own, is allowed")


def _parse_texts(path: str, metadata: Mapping[str, Any], member: str) -> dict[str, str]:
    found = metadata.get(member) or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _refuse(path, f"metadata.{member} must have texts only")
    reserved = next((key for key in found if _is_reserved(str(key))), None)
    if reserved is not None:
        raise _refuse(path, f"metadata.{member}: {reserved} is reserved")
    return dict(found)


def _is_reserved(key: str) -> bool:
    """Return whether a label or annotation may command an operator, or Kubernetes itself."""
    domain, slash, _ = key.lower().partition("/")
    if not slash or domain == _RECOMMENDED:
        return key.lower() == MANAGED_BY_LABEL
    return any(domain == one or domain.endswith(f".{one}") for one in _RESERVED_DOMAINS)


def _parse_spec(path: str, name: str, given: dict[str, Any]) -> ClusterBuildSpec:
    unknown = list_unknown_fields(given, _get_schema(), "spec")
    try:
        spec = ClusterBuildSpec.model_validate(given)
    except ValidationError as error:
        lines = [*unknown, *explain_validation_error(error, "spec").splitlines()]
        raise _refuse(path, *(f"{name}: {line}" for line in lines)) from error
    if unknown:
        raise _refuse(path, *(f"{name}: {line}" for line in unknown))
    return spec


@cache
def _get_schema() -> dict[str, Any]:
    """Return the schema of a ClusterBuild's spec, which takes a while to compute."""
    return compute_structural_schema(ClusterBuildSpec)


def _refuse(path: str, *lines: str) -> Invalid:
    return Invalid("InvalidManifest", "\n".join(f"{path}: {line}" for line in lines))
