"""How users name objects in the command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from bessemer import registry
from bessemer.engine.description import Description
from bessemer.errors import Invalid
from bessemer.kinds.clusterbuild.description import DESCRIPTION as BUILD

Command = TypeVar("Command", bound=Callable[..., Any])


def parse_name(text: str) -> tuple[Description, str]:
    """Return kind and name of ``oxygen``, ``cb/oxygen``, ``runnerpool/ci``; raises Invalid for anything else."""
    kinds = registry.KINDS
    word, slash, name = text.rpartition("/")
    found = kinds[0] if not slash else next((kind for kind in kinds if word.lower() in kind.words), None)
    if found is None or not name:
        wanted = " or ".join(f"{kind.singular}/NAME ({kind.short}/NAME)" for kind in kinds)
        raise Invalid("InvalidName", f"{text}: {wanted} is wanted")
    return found, name


def parse_build_name(text: str) -> str:
    """Return the name of a ClusterBuild; raises Invalid for that of another kind."""
    kind, name = parse_name(text)
    if kind is not BUILD:
        raise Invalid("InvalidName", f"{text}: a {BUILD.singular} is wanted")
    return name


def explain_kinds(build_line: Callable[[Description], str]) -> Callable[[Command], Command]:
    """Add a paragraph for each kind to the help of a command, which is its docstring."""

    def add(command: Command) -> Command:
        lines = (build_line(kind) for kind in registry.KINDS)
        command.__doc__ = "\n\n".join([inspect.cleandoc(command.__doc__ or ""), *lines])
        return command

    return add


def explain_names() -> str:
    """Return what may stand for an object, for help texts."""
    forms = " or ".join(f"{kind.singular}/NAME ({kind.short}/NAME)" for kind in registry.KINDS)
    return f"{forms}; a bare NAME is a {registry.KINDS[0].name}."
