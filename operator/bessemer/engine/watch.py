"""The watches: one kopf operator for all kinds. The only module that imports kopf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import aiohttp
import kopf

from bessemer.api.wellknown import LEADER_LEASE, MANAGED_BY, MANAGED_BY_LABEL
from bessemer.engine.hearing import Hearing
from bessemer.engine.kind import Child, Model
from bessemer.engine.loop import Key
from bessemer.kube.protocol import Object
from bessemer.kube.stream import BoundedResponse


class Watched(Protocol):
    """What is watched for a kind, and its event handlers; implemented by Controller."""

    @property
    def model(self) -> Model[Any]:
        """The kind's API model."""

    @property
    def children(self) -> Sequence[Child]:
        """The children that are watched in addition to the objects."""

    def hear_object(self, type_: str | None, key: Key, raw: Object, /) -> None:
        """Process an event of an object."""

    def hear_child(self, child: Child, type_: str | None, namespace: str, raw: Object, /) -> None:
        """Process an event of a child."""


LIST_ITEMS = 50
"""Objects per page of a list: an object may have 1.5 MiB, and the process has 512 MiB."""
RESTART_SECONDS = 1.0
"""Seconds before a watch that failed is restarted with a list."""


def build_registry(controllers: Sequence[Watched], hearing: Hearing) -> kopf.OperatorRegistry:
    """Return the handlers of all kinds, and the handler of the Lease whose events show that the watch works."""
    registry = kopf.OperatorRegistry()
    for controller in controllers:
        _register_objects(registry, controller, hearing)
        for number, child in enumerate(controller.children):
            _register_child(registry, controller, child, number, hearing)

    @kopf.on.event("coordination.k8s.io", "v1", "leases", registry=registry)
    async def on_lease(**_: Any) -> None:
        hearing.note()

    return registry


def _register_objects(registry: kopf.OperatorRegistry, controller: Watched, hearing: Hearing) -> None:
    model = controller.model
    resource = (model.resource.group, model.resource.version, model.resource.plural)

    @kopf.on.event(*resource, id=model.name, registry=registry)
    async def on_object(
        namespace: str | None,
        name: str | None,
        type: str | None,  # noqa: A002  kopf's
        body: Mapping[str, Any],
        **_: Any,
    ) -> None:
        hearing.note()
        controller.hear_object(type, (namespace or "", name or ""), dict(body))


def _register_child(
    registry: kopf.OperatorRegistry,
    controller: Watched,
    child: Child,
    number: int,
    hearing: Hearing,
) -> None:
    where = child.resource
    resource = (where.group, where.version, where.plural) if where.group else (where.version, where.plural)
    labels = {child.label: kopf.PRESENT} if child.label is not None else None
    name = f"{controller.model.name}-{where.plural}-{number}"

    @kopf.on.event(*resource, id=name, labels=labels, registry=registry)
    async def on_child(namespace: str | None, type: str | None, body: Mapping[str, Any], **_: Any) -> None:  # noqa: A002  kopf's
        hearing.note()
        controller.hear_child(child, type, namespace or "", dict(body))


def build_options() -> kopf.OperatorSettings:
    """Return kopf's settings: what it watches; it stores nothing in objects."""
    options = kopf.OperatorSettings()
    options.posting.enabled = False
    options.scanning.disabled = True
    options.persistence.diffbase_storage = _NoDiffs()
    options.networking.error_backoffs = (0.2, 0.5, 1, 1, 2, 3, 5, 8, 13, 21, 30, 30, 30)
    options.watching.chunk_size = LIST_ITEMS
    options.watching.reconnect_backoff = RESTART_SECONDS
    options.watching.label_selectors["v1", "pods"] = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
    options.watching.field_selectors["coordination.k8s.io", "v1", "leases"] = f"metadata.name={LEADER_LEASE}"
    return options


async def watch_cluster(
    controllers: Sequence[Watched],
    hearing: Hearing,
    namespaces: Sequence[str] = (),
    connection: kopf.ConnectionInfo | None = None,
) -> None:
    """Watch until a signal arrives or the task is cancelled; raises if watching has become impossible.

    ``namespaces`` are the watched namespaces, which include the operator's own with its Lease; empty: the whole
    cluster. ``connection`` is for tests; otherwise the service account or the kubeconfig is used.
    """
    options = build_options()
    registry = build_registry(controllers, hearing)

    @kopf.on.login(registry=registry)
    async def login(**_: object) -> kopf.AiohttpSession | None:
        info = connection or kopf.login_with_service_account(settings=options)
        info = info or kopf.login_with_kubeconfig(settings=options)
        return None if info is None else _open_session(info)

    await kopf.operator(
        registry=registry, settings=options, standalone=True, clusterwide=not namespaces, namespaces=namespaces
    )


def _open_session(info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
    """Return the session that kopf would create, except that its responses can always be decoded.

    kopf calls this again after a 401 from the API server, such as for an expired token. It also closes the session.
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        trust_env=bool(info.trust_env),
        response_class=BoundedResponse,
    )
    return kopf.AiohttpSession(
        server=info.server,
        default_namespace=info.default_namespace,
        priority=info.priority,
        expiration=info.expiration,
        aiohttp_session=session,
    )


class _NoDiffs(kopf.DiffBaseStorage):
    """Replaces kopf's store of last states, with which it detects changes; no handler of Bessemer uses it.

    kopf's store parses an annotation of the object at each event with ``json.loads``: a user who writes other text
    there would make the object's events fail.
    """

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None
