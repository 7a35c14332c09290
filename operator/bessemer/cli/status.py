"""Show how objects are: a line for each, or the whole picture of some."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bessemer import registry
from bessemer.cli.kinds import parse_name
from bessemer.console.form import Form
from bessemer.console.session import Session
from bessemer.console.terminal import build_table, make_console, make_output, print_view
from bessemer.console.values import build_list, clean_object, write_value
from bessemer.engine.description import Description
from bessemer.kube.protocol import Object


async def print_list(session: Session, form: Form | None, *, all_namespaces: bool) -> None:
    """Print a line for each object of a namespace, or of all."""
    where = "" if all_namespaces else session.namespace
    found = [
        (kind, raw) for kind in registry.KINDS for raw in await session.kubernetes.list_objects(kind.resource, where)
    ]
    if form is not None:
        write_value(build_list([raw for _, raw in found]), form)
        return
    if not found:
        place = "in any namespace" if all_namespaces else f"in namespace {session.namespace}"
        sys.stderr.write(
            make_output(f"There is no {' and no '.join(kind.singular for kind in registry.KINDS)} {place}.\n")
        )
        return
    columns = (*(["NAMESPACE"] if all_namespaces else []), "NAME", "READY", "REASON", "DETAIL")
    rows = [_build_row(kind, raw, with_namespace=all_namespaces) for kind, raw in found]
    print_view(make_console(), build_table(columns, rows))


def _build_row(kind: Description, raw: Object, *, with_namespace: bool) -> tuple[str, ...]:
    metadata = raw["metadata"]
    name = f"{kind.singular}/{metadata['name']}"
    return (*([metadata["namespace"]] if with_namespace else []), name, *kind.get_view().summarize(raw))


async def print_objects(session: Session, names: Sequence[str], form: Form | None) -> None:
    """Print the whole picture of objects; raises Invalid where one does not exist."""
    wanted = [parse_name(name) for name in names]
    found = [(kind, await session.require(kind.resource, kind.name, name)) for kind, name in wanted]
    if form is not None:
        objects = [raw for _, raw in found]
        write_value(clean_object(objects[0]) if len(objects) == 1 else build_list(objects), form)
        return
    console = make_console()
    for at, (kind, raw) in enumerate(found):
        print_view(console, *([""] if at else []), kind.get_view().build_status(raw))
