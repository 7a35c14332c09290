"""The Lease that says who leads, as the official client's leader election wants it.

Its own LeaseLock (37.0.2) can't create the Lease (its ``pretty=True`` fails its own validation) and lets a broken
connection end the election; this one uses our client and reports errors as "not now". Nor does it bound its
requests: one that hangs would keep us leading after another has begun.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.baselock import BaseLock

from bessemer.errors import BessemerError
from bessemer.kube.protocol import LEASES, Kubernetes, Object

_T = TypeVar("_T")
_NOT_FOUND = json.dumps({"code": 404})
_log = logging.getLogger(__name__)


class LeaderLock(BaseLock):
    """A Lease, read and written with our own client.

    Once we hold it, whatever takes longer than ``renew_seconds`` after its last renewal fails.
    """

    def __init__(
        self, kubernetes: Kubernetes, namespace: str, name: str, identity: str, *, renew_seconds: float
    ) -> None:
        super().__init__(name, namespace, identity)
        self.version = ""
        """The Lease as it was seen last."""
        self._kubernetes = kubernetes
        self._renew_seconds = renew_seconds
        self._renewed: float | None = None

    async def get(self, name: str, namespace: str) -> tuple[bool, LeaderElectionRecord] | tuple[bool, Exception]:
        """Read the record; where there is none, or it can't be read, give the error in the form that is looked for."""
        try:
            lease = await self._in_time(self._kubernetes.get_object(LEASES, namespace, name))
        except (BessemerError, TimeoutError) as error:
            return False, ApiException(status=0, reason=str(error))
        if lease is None:
            return False, ApiException(status=404, reason="Not Found", body=_NOT_FOUND)
        self.version = lease["metadata"]["resourceVersion"]
        return True, _parse_record(lease.get("spec") or {})

    async def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        """Create the Lease; returns False if another replica was faster or it can't be created now."""
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace},
            "spec": _build_spec(election_record),
        }
        try:
            lease = await self._kubernetes.create_object(LEASES, namespace, body)
        except BessemerError as error:
            _log.warning("Lease %s can't be created: %s", name, error)
            return False
        self._note(lease)
        return True

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        """Write the record if the Lease is still as it was read."""
        patch: Object = {"metadata": {"resourceVersion": self.version}, "spec": _build_spec(updated_record)}
        try:
            lease = await self._in_time(self._kubernetes.patch_object(LEASES, namespace, name, patch))
        except (BessemerError, TimeoutError) as error:
            _log.warning("Lease %s can't be renewed: %s", name, str(error) or "no answer in time")
            return False
        if lease is None:
            return False
        self._note(lease)
        return True

    def _note(self, lease: Object) -> None:
        self.version = lease["metadata"]["resourceVersion"]
        self._renewed = asyncio.get_running_loop().time()

    async def _in_time(self, request: Coroutine[Any, Any, _T]) -> _T:
        until = None if self._renewed is None else self._renewed + self._renew_seconds
        if until is not None and until <= asyncio.get_running_loop().time():
            request.close()
            raise TimeoutError
        async with asyncio.timeout_at(until):
            return await request


def _parse_record(spec: Object) -> LeaderElectionRecord:
    duration = spec.get("leaseDurationSeconds")
    return LeaderElectionRecord(
        spec.get("holderIdentity") or None,
        str(duration) if duration else None,
        _to_record(spec.get("acquireTime")),
        _to_record(spec.get("renewTime")),
    )


def _build_spec(record: LeaderElectionRecord) -> dict[str, Any]:
    return {
        "holderIdentity": record.holder_identity,
        "leaseDurationSeconds": int(float(record.lease_duration or 0)),
        "acquireTime": _to_api(record.acquire_time),
        "renewTime": _to_api(record.renew_time),
    }


def _to_record(text: str | None) -> str | None:
    """Turn the API's time into the form of the election's records: local time without a zone."""
    return None if text is None else str(datetime.fromisoformat(text).astimezone().replace(tzinfo=None))


def _to_api(text: str | None) -> str | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
