"""The client of Kubernetes: six verbs on raw objects, typed errors, nothing cached.

Reads are consistent (served from etcd's quorum): the reconcile may trust what it reads.
Needed permissions: for each :class:`Kind` just the verbs that the callers use, see the chart's roles.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from urllib.parse import quote

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from bessemer.api.reasons import NAMESPACE_TERMINATING, QUOTA_EXCEEDED
from bessemer.errors import BessemerError
from bessemer.foreign import Unreadable, decode_cut, decode_json, make_line
from bessemer.kube.protocol import (
    POD_LOGS,
    PODS,
    AlreadyExists,
    Conflict,
    Kind,
    NotServed,
    Object,
    Refused,
    Unavailable,
)

REQUEST_SECONDS = 30.0
"""Seconds; longer than any of our requests. A connection that was lost silently must not block a reconcile."""
MOST_FAILURE_BYTES = 4 << 20
"""Of an answer that is no success: a message may repeat what was wrong with the whole object."""
SMALL_BYTES, MOST_BYTES, MOST_VALUES = 4 << 20, 32 << 20, 1_000_000
"""Of an answer: from which size on few are read at once, and the largest that is read, in bytes and in values, by their
commas and brackets. Users of a namespace decide how many objects have a label, and what is in them; each value takes up
to 72 bytes of memory, whatever it takes on the wire."""
LARGE_AT_ONCE = 1
MESSAGE_CHARACTERS = 2048
"""Kept of what the API server, or an admission webhook, says."""
KNOWN_REFUSALS = {"being terminated": NAMESPACE_TERMINATING, "exceeded quota": QUOTA_EXCEEDED}
"""Refusals that are told apart from others of their status by these words of the message alone."""
_NO_CONTAINER = "BadRequest"
"""What the API server answers for the log of a container that has not begun, or of one that the pod does not have."""
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
"""Of which JSON is a part."""
FIELD_MANAGER = "bessemer"
"""Name under which the API server remembers which fields were applied."""


class KubernetesClient:
    """The real client, by the official client's transport; ``count`` is told method and plural of each request."""

    def __init__(self, api: ApiClient, count: Callable[[str, str], None] = lambda _method, _plural: None) -> None:
        self._api = api
        self._count = count
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def get_object(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Read one object; None where it does not exist."""
        self._count("GET", kind.plural)
        return await self._request_or_none("GET", _path(kind, namespace, name))

    async def list_objects(
        self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "", limit: int | None = None
    ) -> list[Object]:
        """Read the objects of a namespace ("": of all) that a label selector and a field selector choose.

        Raises Refused TooManyObjects where they are larger than can be read.
        """
        self._count("GET", kind.plural)
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(limit) if limit else ""}
        try:
            answer = await self._request("GET", _path(kind, namespace), query={k: v for k, v in query.items() if v})
        except _Absent as error:
            raise NotServed(error.reason, f"{kind.plural} of {kind.group or 'core'}/{kind.version}") from error
        items = answer.get("items")
        if not isinstance(items, list):
            raise Unavailable("ApiUnavailable", f"GET {_path(kind, namespace)}: the answer is no list")
        return [item for item in items if isinstance(item, dict)]

    async def create_object(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Create an object; raises AlreadyExists or Refused, also for a field that the API does not have."""
        self._count("POST", kind.plural)
        return await self._request("POST", _path(kind, namespace), query={"fieldValidation": "Strict"}, body=body)

    async def patch_object(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object | None:
        """Merge a patch into an object; None where it does not exist."""
        self._count("PATCH", kind.plural)
        path = _path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return await self._request_or_none("PATCH", path, body=patch, content_type=MERGE_PATCH)

    async def apply_object(self, kind: Kind, namespace: str, body: Object, *, force: bool = False) -> Object:
        """Create or change an object so that it has the fields of ``body``, by server-side apply.

        Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
        """
        self._count("PATCH", kind.plural)
        path = _path(kind, namespace, body["metadata"]["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower(), "fieldValidation": "Strict"}
        try:
            return await self._request("PATCH", path, query=query, body=body, content_type=APPLY_PATCH)
        except _Absent as error:  # the namespace, or the kind
            raise Refused(error.reason, error.message) from error
        except (Refused, Unavailable) as error:
            raise _explain_apply(error) from error

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
        """Delete an object if it exists and is still as it was seen."""
        self._count("DELETE", kind.plural)
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        preconditions = {"uid": uid, "resourceVersion": version}
        body["preconditions"] = {key: value for key, value in preconditions.items() if value is not None}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            await self._request_or_none("DELETE", _path(kind, namespace, name), body=body)
        except Conflict:
            return  # it has changed, or another object has its name: the one to delete does not exist any more

    async def get_log(self, namespace: str, pod: str, container: str) -> str:
        """Read the whole log of a container of a pod."""
        self._count("GET", PODS.plural)
        path = _path(PODS, namespace, pod) + "/log"
        return (await self._send("GET", path, query={"container": container})).decode("utf-8", "replace")

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
        """Read a part of the log of a container, with time stamps; None where it has not begun, or is gone.

        Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod
        """
        self._count("GET", POD_LOGS.plural)
        query = {
            "container": container,
            "timestamps": "true",
            "sinceTime": since.strftime("%Y-%m-%dT%H:%M:%SZ") if since is not None else "",  # it has no fractions
            "tailLines": str(last) if last is not None else "",
            "limitBytes": str(most_bytes) if most_bytes is not None else "",
        }
        path = _path(PODS, namespace, pod) + "/log"
        try:
            data = await self._send("GET", path, query={key: value for key, value in query.items() if value})
        except _Absent:
            return None
        except Refused as error:
            if error.reason != _NO_CONTAINER:
                raise
            return None
        return data.decode("utf-8", "replace")

    async def _request_or_none(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json"
    ) -> Object | None:
        try:
            return await self._request(method, path, body=body, content_type=content_type)
        except _Absent:
            return None

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        async with AsyncExitStack() as held:  # until it is decoded
            data = await self._send(method, path, query=query, body=body, content_type=content_type, held=held)
            if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
                raise _refuse_large(path, f"{MOST_VALUES} values")
            try:
                answer = decode_cut(data)
            except Unreadable as error:
                raise Unavailable("ApiUnavailable", f"{method} {path}: {error}") from error
        if not isinstance(answer, dict):
            raise Unavailable("ApiUnavailable", f"{method} {path}: the answer is no object")
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        held: AsyncExitStack | None = None,
    ) -> bytes:
        """Return the body of an answer; with ``held`` it is bounded, and a large one has a place there."""
        serialized = await self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = await self._api.call_api(*serialized, _request_timeout=REQUEST_SECONDS)
            async with response.response as answer:  # which closes the connection of one that is not read to its end
                data = await (answer.read() if held is None else self._read(path, answer.content, held))
        except (aiohttp.ClientError, TimeoutError, ApiException) as error:
            raise Unavailable("ApiUnavailable", f"{method} {path}: {type(error).__name__} {error}") from error
        if response.status >= 400:
            raise translate_failure(response.status, data)
        return data

    async def _read(self, path: str, content: aiohttp.StreamReader, held: AsyncExitStack) -> bytes:
        """Read a body; raises Refused for one that is too large."""
        chunks, size = [], 0
        async for chunk in content.iter_any():
            if size <= SMALL_BYTES < size + len(chunk):
                await held.enter_async_context(self._large)
            size += len(chunk)
            if size > MOST_BYTES:
                raise _refuse_large(path, f"{MOST_BYTES >> 20} MiB")
            chunks.append(chunk)
        return b"".join(chunks)


def _refuse_large(path: str, what: str) -> Refused:
    return Refused("TooManyObjects", f"GET {path}: the objects have more than {what} together")


def _explain_apply(error: BessemerError) -> BessemerError:
    """Return the error for an apply that failed; the API server answers some of them with a status that says less.

    Another UID is a 422, and a field that the schema does not have a 500 (seen with Kubernetes 1.37).
    """
    if "metadata.uid: Invalid value" in error.message:
        return Conflict("Conflict", error.message)
    if "field not declared in schema" in error.message:
        return Refused("InvalidSpec", error.message)
    return error


class _Absent(BessemerError):
    """404; never leaves this module but as ``None``."""


def translate_failure(status: int, data: bytes) -> BessemerError:
    """Return the error for an unsuccessful answer of the API; its class is the policy for handling it."""
    try:
        body = decode_json(data, most_bytes=MOST_FAILURE_BYTES)
    except Unreadable:
        body = {"message": data[:256].decode("utf-8", "replace")}
    if not isinstance(body, dict):
        body = {}
    reason, message = str(body.get("reason") or status), make_line(str(body.get("message") or ""), MESSAGE_CHARACTERS)
    if status == 404:
        return _Absent(reason, message)
    if status == 409 and reason == "AlreadyExists":
        return AlreadyExists(reason, message)
    if status == 409:
        return Conflict(reason, message)
    known = next((known for words, known in KNOWN_REFUSALS.items() if words in message), None)
    if known is not None or status in (400, 403, 405, 413, 415, 422):
        return Refused(known or reason, message)
    return Unavailable(reason, message)


def _path(kind: Kind, namespace: str, name: str = "") -> str:
    """Return the path of an object; a name with special characters stays one segment of the path."""
    where = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{kind.prefix}{where}/{kind.plural}" + (f"/{quote(name, safe='')}" if name else "")
