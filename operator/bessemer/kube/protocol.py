"""What the operator asks of Kubernetes: six verbs on raw objects, and typed errors.

An absent object is ``None``, never an exception. Objects stay dicts, because typed models of pods cost more than
everything else of a pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from bessemer.errors import BessemerError, Retry

Object = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of object and where the API serves it."""

    group: str
    version: str
    plural: str

    @property
    def prefix(self) -> str:
        """The path below which the API serves the group."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


PODS = Kind("", "v1", "pods")
POD_LOGS = Kind("", "v1", "pods/log")
CONFIG_MAPS = Kind("", "v1", "configmaps")
SECRETS = Kind("", "v1", "secrets")
RESOURCE_QUOTAS = Kind("", "v1", "resourcequotas")
SERVICE_ACCOUNTS = Kind("", "v1", "serviceaccounts")
ROLE_BINDINGS = Kind("rbac.authorization.k8s.io", "v1", "rolebindings")
ROLES = Kind("rbac.authorization.k8s.io", "v1", "roles")
CLUSTER_ROLES = Kind("rbac.authorization.k8s.io", "v1", "clusterroles")
LEASES = Kind("coordination.k8s.io", "v1", "leases")
EVENTS = Kind("events.k8s.io", "v1", "events")
"""Events as we write them."""
CORE_EVENTS = Kind("", "v1", "events")
"""The same Events in the older API, which can be searched by the object that they are about."""


class AlreadyExists(BessemerError):
    """An object of that name is there already: look whether it is ours."""


class Conflict(BessemerError):
    """The object has changed since it was read: read again."""


class NotServed(BessemerError):
    """The API server has no such kind, or no such version of it; the message names it."""


class Refused(BessemerError):
    """Quota, admission, policy or validation refuses the object: shown to the user, tried again."""


class Unavailable(Retry):
    """The API server can't be reached or is overloaded."""


class Kubernetes(Protocol):
    """What the operator asks of Kubernetes.

    All verbs may raise :class:`Unavailable`. Idempotence: ``create_object`` raises :class:`AlreadyExists` the second
    time, ``delete_object`` of what is gone does nothing.
    """

    async def get_object(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Read one object; None where it does not exist."""

    async def list_objects(
        self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "", limit: int | None = None
    ) -> list[Object]:
        """Read the objects of a namespace ("": of all) that a label selector and a field selector choose.

        Raises NotServed where the API server has no such kind.
        """

    async def create_object(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Create an object; raises AlreadyExists, or Refused with what quota or admission said."""

    async def patch_object(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object | None:
        """Merge a patch into an object, None where it does not exist; raises Conflict, Refused.

        A ``metadata.resourceVersion`` in the patch makes it conditional.
        """

    async def apply_object(self, kind: Kind, namespace: str, body: Object, *, force: bool = False) -> Object:
        """Create or change an object so that it has the fields of ``body``, by server-side apply.

        Fields that an earlier call set and this one does not are removed; fields of others stay. Idempotent. Raises
        Conflict where another manager set a field to another value, unless ``force`` takes it over, and Refused.
        A ``metadata.uid`` in the body refuses to create an object, or to change another one: Conflict.
        """

    async def delete_object(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        version: str | None = None,
        grace_seconds: int | None = None,
    ) -> None:
        """Delete an object if it exists and, where they are given, still has that UID and that resourceVersion.

        With ``grace_seconds`` 0 a pod is gone at once, without the kubelet's word: for one of which nothing runs.
        """

    async def read_log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        since: datetime | None = None,
        last: int | None = None,
        most_bytes: int | None = None,
    ) -> str | None:
        """Read the log of a container from a time on, each line after its time stamp and a blank.

        ``last`` reads only so many lines from its end, ``most_bytes`` ends in the middle of a line. None: there is no
        such pod, or its container has not begun.
        """
