"""How we watch: one kopf operator for all kinds. With the kinds' handlers, the only module that knows kopf."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import aiohttp
import kopf

from bessemer.api.wellknown import LEADER_LEASE, MANAGED_BY, MANAGED_BY_LABEL
from bessemer.engine.hearing import Hearing
from bessemer.kube.stream import BoundedResponse

Registration = Callable[[kopf.OperatorRegistry], None]
"""Adds the handlers of a kind."""
LIST_ITEMS = 50
"""Objects that a list holds at a time: each may be of 1.5 MiB, and the process has 512 MiB."""
RESTART_SECONDS = 1.0
"""Seconds before a watch that ended with an error is restarted with a list."""


def build_registry(kinds: Iterable[Registration], hearing: Hearing) -> kopf.OperatorRegistry:
    """Return the handlers of all kinds, and that of the Lease which shows that events flow."""
    registry = kopf.OperatorRegistry()
    for register in kinds:
        register(registry)

    @kopf.on.event("coordination.k8s.io", "v1", "leases", registry=registry)
    async def on_lease(**_: Any) -> None:
        hearing.note()

    return registry


def build_options() -> kopf.OperatorSettings:
    """Return the settings of kopf: what it watches; it stores nothing in objects."""
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
    kinds: Iterable[Registration],
    hearing: Hearing,
    namespaces: Sequence[str] = (),
    connection: kopf.ConnectionInfo | None = None,
) -> None:
    """Watch until a signal ends it, or until it is cancelled; raises where watching has become impossible.

    ``namespaces`` are those to watch, the operator's own among them, where its Lease is; none: the whole cluster.
    ``connection`` is for tests; else it is that of the service account or of the kubeconfig.
    """
    options = build_options()
    registry = build_registry(kinds, hearing)

    @kopf.on.login(registry=registry)
    async def login(**_: object) -> kopf.AiohttpSession | None:
        info = connection or kopf.login_with_service_account(settings=options)
        info = info or kopf.login_with_kubeconfig(settings=options)
        return None if info is None else _open_session(info)

    await kopf.operator(
        registry=registry, settings=options, standalone=True, clusterwide=not namespaces, namespaces=namespaces
    )


def _open_session(info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
    """Return the session that kopf would make itself, but with answers that can always be decoded.

    kopf asks for it again where the API server answers 401, such as with a token that has run out. It closes it, too.
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
    """Where kopf would store the last state of objects to detect changes, which no handler of Bessemer uses.

    kopf's own reads an annotation of the object at each event, with ``json.loads``: a user who writes another text
    there would have the object's events fail.
    """

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None
