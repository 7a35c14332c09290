"""Watch single objects by their names: that one has changed is told, never what is in it.

Only metadata are asked for, so that a Secret's values don't even cross the wire.
Sources: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes and
https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Protocol

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from bessemer.foreign import Unreadable, decode_cut
from bessemer.kube.client import translate_failure
from bessemer.kube.protocol import Kind, Unavailable
from bessemer.kube.stream import iterate_lines

WATCH_SECONDS = 300
"""The API server ends a watch after that time, so that none stays deaf for longer."""
PATIENCE_SECONDS = 15
"""For it to do so."""
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class Watcher(Protocol):
    """What is asked of Kubernetes to hear of changes."""

    def watch_object(self, kind: Kind, namespace: str, name: str, /) -> AsyncGenerator[str]:
        """Return the resource version of an object that exists, then one for each change and for its end.

        Ends after a while in good order; raises Refused where it is not allowed, Unavailable where the API is away.
        """


class ObjectWatcher:
    """The real one; each watch takes one connection of the client's."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def watch_object(self, kind: Kind, namespace: str, name: str, /) -> AsyncGenerator[str]:
        """Return the resource version of an object that exists, then one for each change and for its end."""
        path = f"{kind.prefix}/namespaces/{namespace}/{kind.plural}"
        query = {"watch": "true", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": str(WATCH_SECONDS)}
        request = await self._api.param_serialize(
            "GET",
            path,
            query_params=list(query.items()),
            header_params={"Accept": _METADATA},
            auth_settings=["BearerToken"],
        )
        try:
            answer = await self._api.call_api(*request, _request_timeout=WATCH_SECONDS + PATIENCE_SECONDS)
            async with answer.response as response:
                if response.status >= 400:
                    raise translate_failure(response.status, await response.read())
                async for line in iterate_lines(response.content):
                    yield _parse_version(line)
        except (aiohttp.ClientError, TimeoutError, ApiException, Unreadable) as error:
            raise Unavailable("ApiUnavailable", f"watch {path}: {type(error).__name__} {error}") from error


def _parse_version(line: bytes) -> str:
    event = decode_cut(line)
    what = event.get("object") if isinstance(event, dict) else None
    if not isinstance(what, dict):
        raise Unreadable("an event without an object")
    if event.get("type") == "ERROR":
        code = what.get("code")
        raise translate_failure(code if isinstance(code, int) else 500, json.dumps(what).encode())
    metadata = what.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("resourceVersion"), str):
        raise Unreadable("an object without a resourceVersion")
    return str(metadata["resourceVersion"])
