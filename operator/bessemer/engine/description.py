"""The description of a kind: all that the process, the command, the chart and the uninstaller know of it.

A kind is its folder in ``kinds``, its models in ``api``, and a line in :mod:`bessemer.registry`. A description is
imported for each help text, so it imports nothing heavy: what it refers to is imported when its functions are called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bessemer.api.group import GROUP, VERSION
from bessemer.kube.protocol import Kind

if TYPE_CHECKING:
    from bessemer.api.crd import CustomResource
    from bessemer.console.view import View
    from bessemer.engine.controller import Make
    from bessemer.engine.deps import Deps
    from bessemer.kube.watch import Watcher


@dataclass(frozen=True)
class Permission:
    """Verbs on a resource that the operator's account needs."""

    resource: Kind
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()
    """Only these objects; a name may be an expression of the chart's templates. Empty: all."""
    when: str = ""
    """A condition of ``bessemer.operatorRules`` in the chart under which it is needed; empty: always."""


@dataclass(frozen=True)
class Leftover:
    """A finalizer that the operator sets on other objects than those of the kind."""

    resource: Kind
    finalizer: str
    label: str
    """All objects with the finalizer have this label."""


@dataclass(frozen=True)
class Description:
    """How a kind is named, what it needs, and what brings it forward and shows it."""

    name: str
    """Such as ClusterBuild."""
    plural: str
    short: str
    finalizer: str
    """Set on its objects."""
    manifest_help: str
    """What ``bessemer plan`` shows for a manifest of the kind: one phrase."""
    watch_help: str
    """What the exit code of ``bessemer watch`` means: one sentence."""
    make: Callable[[Deps, Watcher], Make[Any, Any, Any]]
    """Returns what the kind's controller is created with."""
    get_crd: Callable[[], CustomResource]
    get_view: Callable[[], View]
    permissions: tuple[Permission, ...]
    """In the watched namespaces, in addition to what the engine needs for each kind."""
    own_permissions: tuple[Permission, ...] = ()
    """In the operator's own namespace."""
    leftovers: tuple[Leftover, ...] = ()
    lease_prefix: str | None = None
    """Prefix of the names of the Leases that the kind keeps in the operator's namespace; None: it keeps none."""

    @property
    def resource(self) -> Kind:
        """Where the API serves the kind."""
        return Kind(GROUP, VERSION, self.plural)

    @property
    def singular(self) -> str:
        """The name in the command, as kubectl has it."""
        return self.name.lower()

    @property
    def words(self) -> tuple[str, ...]:
        """What may stand before the slash of an object's name, as for kubectl."""
        return self.singular, self.plural, self.short, f"{self.singular}.{GROUP}", f"{self.plural}.{GROUP}"
