"""The kinds that the command knows, how users name their objects, and what shows them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

from bessemer.api.base import GROUP
from bessemer.cli import watch, watch_pool
from bessemer.cli.options import Form
from bessemer.cli.session import Session
from bessemer.cli.status_build import build_status, summarize_build
from bessemer.cli.status_pool import build_pool_status, summarize_pool
from bessemer.errors import Invalid
from bessemer.kube.protocol import CLUSTER_BUILDS, RUNNER_POOLS, Kind


@dataclass(frozen=True)
class ShownKind:
    """A kind as users name it, and the functions that show one of its objects."""

    singular: str
    short: str
    kind: Kind
    summarize: Callable[[Mapping[str, Any]], tuple[str, str, str]]
    """Of a raw object: whether it is ready, why, and how far it is, for the list."""
    build_status: Callable[[Mapping[str, Any]], RenderableType]
    """Of a raw object: the whole picture."""
    watch: Callable[[Session, str, float | None, Form | None], Awaitable[int]]
    """Follow an object for so many seconds; the exit code."""

    @property
    def words(self) -> tuple[str, ...]:
        """What may stand before the slash, as for kubectl."""
        return self.singular, self.kind.plural, self.short, f"{self.singular}.{GROUP}", f"{self.kind.plural}.{GROUP}"


BUILD = ShownKind("clusterbuild", "cb", CLUSTER_BUILDS, summarize_build, build_status, watch.watch_build)
POOL = ShownKind("runnerpool", "rp", RUNNER_POOLS, summarize_pool, build_pool_status, watch_pool.watch_pool)
KINDS = (BUILD, POOL)


def parse_name(text: str) -> tuple[ShownKind, str]:
    """Return kind and name of ``oxygen``, ``cb/oxygen``, ``runnerpool/ci``; raises Invalid for anything else."""
    word, slash, name = text.rpartition("/")
    found = BUILD if not slash else next((kind for kind in KINDS if word.lower() in kind.words), None)
    if found is None or not name:
        wanted = " or ".join(f"{kind.singular}/NAME ({kind.short}/NAME)" for kind in KINDS)
        raise Invalid("InvalidName", f"{text}: {wanted} is wanted")
    return found, name


def parse_build_name(text: str) -> str:
    """Return the name of a ClusterBuild; raises Invalid for that of another kind."""
    kind, name = parse_name(text)
    if kind is not BUILD:
        raise Invalid("InvalidName", f"{text}: a {BUILD.singular} is wanted")
    return name
