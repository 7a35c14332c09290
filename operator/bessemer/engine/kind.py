"""The interface between a kind and the engine.

A kind is a type of object that the engine reconciles in passes: observe (reads, and only reads), decide (a pure
function of the observed facts and the time), execute the decided step, and decide again until no step is left. The
engine does what all kinds have in common: watches, the finalizer, the status, events, and the display of a failed pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from aiohttp import web

from bessemer.api.base import Resource
from bessemer.engine.loop import Key
from bessemer.engine.plan import Plan
from bessemer.kube.protocol import Kind as ResourceKind
from bessemer.kube.protocol import Object

R = TypeVar("R", bound=Resource[Any, Any])
F = TypeVar("F")
"""The facts that a kind observes in one pass."""
Wake = Callable[[Key], None]
"""Requests a pass over an object of the kind as soon as possible."""


@dataclass(frozen=True)
class Model(Generic[R]):
    """How Kubernetes names the kind, and how a raw object is parsed."""

    name: str
    """Name of the kind such as ClusterBuild, for logs and the metrics label ``kind``."""
    resource: ResourceKind
    finalizer: str
    """Added by the engine before anything else, and removed when a plan finalizes the object."""
    parse: Callable[[Mapping[str, Any]], R]
    """Never raises: an unreadable spec is a fact of the resource, not an error."""
    cached: bool = False
    """Whether a pass uses the object from the watch; otherwise each pass reads it from the API server."""
    wakes_others: bool = False
    """Whether the deletion of an object wakes all others, which may wait for something that it held."""
    paced: frozenset[str] = frozenset()
    """Status fields that change all the time: if only these differ, the status is not written at once."""


Hear = Callable[[str | None, str, Object], Iterable[Key]]
"""Processes an event of a child (event type, namespace, child) and returns the keys of the objects to wake. Of the
types only DELETED matters. The child may contain anything."""


@dataclass(frozen=True)
class Child:
    """A type of child that is watched in addition to the objects."""

    resource: ResourceKind
    hear: Hear
    label: str | None = None
    """Only children with this label are watched, whatever its value; None: all."""


@dataclass(frozen=True)
class Route:
    """An HTTP route of a kind; a standby replica forwards its requests to the leader."""

    path: str
    """Has the form ``/v1/<name>/...``; served with or without a slash at the end."""
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]]
    method: str = "POST"


@dataclass(frozen=True)
class Routes:
    """The HTTP routes of a kind by port."""

    public: tuple[Route, ...] = ()
    """On the port for webhooks, which is open to any client."""
    internal: tuple[Route, ...] = ()
    """On the port for clients inside the cluster only."""


P = TypeVar("P", bound=Plan)


class Kind(ABC, Generic[R, F, P]):
    """A type of object and how it is reconciled."""

    model: Model[R]
    children: tuple[Child, ...] = ()
    routes: Routes = Routes()

    @abstractmethod
    async def observe(self, resource: R, woken: float) -> F:
        """Read all facts about an object; ``woken`` is the monotonic time at which the pass was requested.

        Raises Retry, or Invalid if only a change of the spec, or of something that it refers to, can help.
        """

    @abstractmethod
    def decide(self, facts: F, now: datetime) -> P:
        """Return the next step and the status; pure."""

    @abstractmethod
    async def execute(self, facts: F, plan: P) -> F:
        """Execute the step of a plan; return the facts after it. Raises the same errors as observe."""

    async def finish(self, facts: F, plan: P) -> float | None:  # noqa: ARG002  what most kinds need not
        """Do the work that must not happen before the status is written.

        Returns the seconds after which the kind's own state requires the next pass; None: it requires none.
        """
        return None

    @abstractmethod
    async def forget(self, key: Key) -> None:
        """Forget a deleted object and release what it held; the engine calls this again if it fails."""

    async def close(self) -> None:
        """End all background tasks."""
