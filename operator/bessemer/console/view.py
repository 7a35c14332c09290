"""What a kind shows of its objects in the command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

from bessemer.console.form import Form
from bessemer.console.session import Session


@dataclass(frozen=True)
class View:
    """The functions that show the objects of a kind."""

    summarize: Callable[[Mapping[str, Any]], tuple[str, str, str]]
    """Of a raw object: whether it is ready, why, and how far it is, for the list."""
    build_status: Callable[[Mapping[str, Any]], RenderableType]
    """Of a raw object: the whole picture."""
    watch: Callable[[Session, str, float | None, Form | None], Awaitable[int]]
    """Follow an object for so many seconds; the exit code."""
    print_plan: Callable[[str, Any, Form | None], None]
    """Print what a manifest with this name and spec would do; raises Invalid with all that is wrong with the spec."""
    tolerated: frozenset[str] = frozenset()
    """Messages of the CRD's rules that a manifest to be planned may break."""
