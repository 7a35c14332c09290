"""Write for programs: JSON and YAML in ASCII, so that no text of others can steer a terminal either."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import IO, Any

import yaml

from bessemer.console.form import Form
from bessemer.kube.protocol import Object


def write_value(value: Any, form: Form, file: IO[str] | None = None, *, indent: int | None = 2) -> None:
    """Write one document; without ``indent``, JSON is one line, and YAML begins with ``---``."""
    out = file or sys.stdout
    if form is Form.JSON:
        text = json.dumps(value, indent=indent) + "\n"
        out.write(text.replace("\x7f", "\\u007f"))  # the one control character that JSON leaves as it is
    else:
        out.write("" if indent else "---\n")
        out.write(yaml.safe_dump(value, sort_keys=False, allow_unicode=False, width=120))
    out.flush()


def clean_object(raw: Object) -> Object:
    """Return an object as ``kubectl get`` shows it: without the record of who set which field."""
    metadata = {name: value for name, value in raw["metadata"].items() if name != "managedFields"}
    return {**raw, "metadata": metadata}


def build_list(objects: Sequence[Object]) -> Object:
    """Return several objects as ``kubectl get`` shows them."""
    return {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [clean_object(raw) for raw in objects]}


class ChangeWriter:
    """Writes a stream of changes in the form of the Kubernetes watch API: one document for each, with type and object.

    Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
    """

    def __init__(self, form: Form, file: IO[str] | None = None) -> None:
        self._form, self._file = form, file
        self._last: Object | None = None

    def show(self, raw: Object) -> None:
        """Write the object that is watched: ADDED the first time, then MODIFIED where it has changed."""
        if self._last is None:
            self._write("ADDED", raw)
        elif self._last["metadata"].get("resourceVersion") != raw["metadata"].get("resourceVersion"):
            self._write("MODIFIED", raw)
        self._last = raw

    def show_other(self, raw: Object) -> None:
        """Write an object that tells of it, such as an Event: ADDED."""
        self._write("ADDED", raw)

    def end(self) -> None:
        """Write that the object is gone: DELETED, as it was last."""
        if self._last is not None:
            self._write("DELETED", self._last)

    def _write(self, type_: str, raw: Object) -> None:
        write_value({"type": type_, "object": clean_object(raw)}, self._form, self._file, indent=None)
