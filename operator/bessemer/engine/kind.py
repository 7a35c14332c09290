"""What a kind is: all that the engine has to know of it.

A kind is one object that the engine brings forward in passes: observe (reads, and only reads), decide (a pure function
of what was observed and the time), execute the step that was decided, decide again, until no step is left. The engine
does what all kinds have in common: watching, the finalizer, the status, events, what is shown of a failed pass.
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
"""What a kind observes in one pass."""
Wake = Callable[[Key], None]
"""Has an object of the kind looked at as soon as possible."""


@dataclass(frozen=True)
class Model(Generic[R]):
    """How Kubernetes knows the kind, and how a raw object becomes typed facts."""

    name: str
    """Such as ClusterBuild; in logs and in the label ``kind`` of metrics."""
    resource: ResourceKind
    finalizer: str
    """The engine adds it before anything else is done, and takes it off when a plan lets the object go."""
    parse: Callable[[Mapping[str, Any]], R]
    """Total: a spec that can't be read is a fact of the resource, never an error."""
    cached: bool = False
    """Whether a pass takes the object as the watch saw it last; else it is read from the API server each time."""
    wakes_others: bool = False
    """Whether all others are looked at when one is gone: they may wait for what it held."""
    paced: frozenset[str] = frozenset()
    """Fields of the status that change all the time: where no other differs, the status is not written at once."""


Hear = Callable[[str | None, str, Object], Iterable[Key]]
"""Notes an event of a child (its type, of which DELETED alone matters, the namespace, the child) and returns the keys
of the objects to wake. The child may hold anything."""


@dataclass(frozen=True)
class Child:
    """What is watched beside the objects themselves."""

    resource: ResourceKind
    hear: Hear
    label: str | None = None
    """Only children that have this label, whatever its value; None: all."""


@dataclass(frozen=True)
class Route:
    """What a kind serves over HTTP; a replica that stands by sends it on to the leader."""

    path: str
    """Of the form ``/v1/<name>/...``; served with POST, with a slash at the end or without."""
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Routes:
    """The routes of a kind, by who reaches them."""

    public: tuple[Route, ...] = ()
    """On the port for webhooks, which strangers reach."""
    internal: tuple[Route, ...] = ()
    """On the port for the cluster alone."""


P = TypeVar("P", bound=Plan)


class Kind(ABC, Generic[R, F, P]):
    """A kind of object and how it is brought forward."""

    model: Model[R]
    children: tuple[Child, ...] = ()
    routes: Routes = Routes()

    @abstractmethod
    async def observe(self, resource: R, woken: float) -> F:
        """Read all that is known of an object; ``woken`` is the monotonic time at which the pass was asked for.

        Raises Retry, or Invalid where only a change of the spec or of what it refers to helps.
        """

    @abstractmethod
    def decide(self, facts: F, now: datetime) -> P:
        """Return the next step, and the status; pure."""

    @abstractmethod
    async def execute(self, facts: F, plan: P) -> F:
        """Carry out the step of a plan; return the facts as they are then. Raises what observe does."""

    async def finish(self, facts: F, plan: P) -> float | None:  # noqa: ARG002  what most kinds need not
        """Do what may be done once the status is written, and not before.

        Returns the seconds until what the kind remembers makes the next pass due; None: it does not.
        """
        return None

    @abstractmethod
    async def forget(self, key: Key) -> None:
        """Forget an object that is gone, and release what it left; the engine calls it again if that fails."""

    async def close(self) -> None:
        """End what runs in the background."""
