"""A Kubernetes in memory behind the same client as the real one; tests/contract runs the same tests on both.

It keeps what the reconcile depends on: UIDs, resource versions and conflicts, generations, finalizers and graceful
deletion, label selectors, owner-based garbage collection. It can refuse creations, and die before or after any call.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from bessemer.kube.protocol import POD_LOGS, AlreadyExists, Conflict, Kind, Object, Refused

Answer = TypeVar("Answer")
Value = TypeVar("Value")
Key = tuple[str, str, str]


class Crash(BaseException):
    """The operator dies here; not an Exception, as a SIGKILL is none."""


@dataclass
class FakeKubernetes:
    """Objects by kind, namespace and name."""

    now: Callable[[], datetime]
    objects: dict[Key, Object] = field(default_factory=dict)
    logs: dict[Key, list[tuple[datetime, str]]] = field(default_factory=dict)
    """Lines with their times, by namespace, pod and container."""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    applied: dict[Key, frozenset[tuple[str, ...]]] = field(default_factory=dict)
    """Paths of the fields that were applied last."""
    created: list[tuple[str, str]] = field(default_factory=list)
    """Kind and name of every object ever created."""
    refuse: Callable[[Kind, Object], Refused | None] = lambda _kind, _body: None
    crash_at: int | None = None
    """Die at the n-th call from now on, counted from 0 ..."""
    crash_after_effect: bool = False
    """... before it has an effect, or after."""
    _versions: Any = field(default_factory=lambda: itertools.count(1))

    async def get_object(self, kind: Kind, namespace: str, name: str) -> Object | None:
        self._call("get", kind, name)
        found = self.objects.get((kind.plural, namespace, name))
        return self._done(copy_json(found))

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
        """Return the part of a log of ``logs``, as the kubelet does."""
        self._call("get", POD_LOGS, pod)
        found = self.logs.get((namespace, pod, container))
        if found is None:
            return self._done(None)
        stamped = [(stamp, f"{stamp:%Y-%m-%dT%H:%M:%S.%f}000Z {line}\n") for stamp, line in found]
        lines = [text for stamp, text in stamped if since is None or stamp >= since]
        text = "".join(lines if last is None else lines[-last:])
        return self._done(text if most_bytes is None else text.encode()[:most_bytes].decode(errors="replace"))

    async def list_objects(
        self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "", limit: int | None = None
    ) -> list[Object]:
        self._call("list", kind, labels or fields)
        wanted = [requirement.partition("=") for requirement in labels.split(",") if requirement]
        found = [
            copy_json(raw)
            for (plural, where, _), raw in self.objects.items()
            if plural == kind.plural
            and namespace in ("", where)
            and all(
                key in raw["metadata"].get("labels", {}) and (not equals or raw["metadata"]["labels"][key] == value)
                for key, equals, value in wanted
            )
            and _matches_fields(raw, fields)
        ]
        return self._done(found[:limit])

    async def create_object(self, kind: Kind, namespace: str, body: Object) -> Object:
        self._call("create", kind, body["metadata"]["name"])
        refusal = self.refuse(kind, body)
        if refusal is not None:
            raise refusal
        key = (kind.plural, namespace, body["metadata"]["name"])
        if key in self.objects:
            raise AlreadyExists("AlreadyExists", f"{key[0]} {key[2]} already exists")
        raw = copy_json(body)
        version = str(next(self._versions))
        raw["metadata"] |= {
            "namespace": namespace,
            "uid": f"uid-{version}",
            "resourceVersion": version,
            "generation": 1,
            "creationTimestamp": self.now().isoformat(),
        }
        self.objects[key] = raw
        self.created.append((kind.plural, key[2]))
        return self._done(copy_json(raw))

    async def patch_object(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object | None:
        self._call(f"patch{'/' if subresource else ''}{subresource}", kind, name)
        raw = self.objects.get((kind.plural, namespace, name))
        if raw is None:
            return self._done(None)
        version = patch.get("metadata", {}).get("resourceVersion")
        if version is not None and version != raw["metadata"]["resourceVersion"]:
            raise Conflict("Conflict", f"{name} has changed")
        before = copy_json(raw)
        merge({"status": patch["status"]} if subresource else {k: v for k, v in patch.items() if k != "status"}, raw)
        raw["metadata"] |= {"uid": before["metadata"]["uid"], "resourceVersion": before["metadata"]["resourceVersion"]}
        self._touch(before, raw)
        self._collect()
        return self._done(copy_json(raw))

    async def apply_object(self, kind: Kind, namespace: str, body: Object, *, force: bool = False) -> Object:
        """Server-side apply with one field manager, for objects and scalars; a list is one value.

        Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
        """
        name = body["metadata"]["name"]
        self._call("apply", kind, name)
        refusal = self.refuse(kind, body)
        if refusal is not None:
            raise refusal
        key = (kind.plural, namespace, name)
        raw, uid = self.objects.get(key), body["metadata"].get("uid")
        if uid is not None and (raw is None or raw["metadata"]["uid"] != uid):
            raise Conflict("Conflict", f"uid mismatch: {name}")
        wanted = {path: value for path, value in _iterate_fields(body) if path not in _IDENTITY}
        if raw is None:
            version = str(next(self._versions))
            raw = {"metadata": {"name": name, "namespace": namespace, "uid": f"uid-{version}", "generation": 1}}
            raw["metadata"] |= {"resourceVersion": version, "creationTimestamp": self.now().isoformat()}
            raw |= {name: body[name] for name in ("apiVersion", "kind") if name in body}
            for path, value in wanted.items():
                _put(raw, path, copy_json(value))
            self.objects[key] = raw
            self.created.append((kind.plural, name))
        else:
            applied = self.applied.get(key, frozenset())
            held = dict(_iterate_fields(raw))
            taken = [path for path, value in wanted.items() if path not in applied and held.get(path, value) != value]
            if taken and not force:
                raise Conflict("Conflict", f"Apply failed with 1 conflict: {'.'.join(taken[0])}")
            before = copy_json(raw)
            for path in applied - wanted.keys():
                _drop(raw, path)
            for path, value in wanted.items():
                _put(raw, path, copy_json(value))
            self._touch(before, raw)
        self.applied[key] = frozenset(wanted)
        return self._done(copy_json(raw))

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
        self._call("delete", kind, name)
        raw = self.objects.get((kind.plural, namespace, name))
        metadata = raw["metadata"] if raw is not None else {}
        if raw is not None and uid in (None, metadata["uid"]) and version in (None, metadata["resourceVersion"]):
            self.mark_deleted(raw, grace_seconds)
        self._done(None)

    def edit(self, plural: str, namespace: str, name: str, patch: Object) -> None:
        """What a user or the kubelet does: no call of the operator's."""
        raw = self.objects[plural, namespace, name]
        before = copy_json(raw)
        merge(patch, raw)
        self._touch(before, raw)
        self._collect()

    def mark_deleted(self, raw: Object, grace_seconds: int | None = None) -> None:
        """Begin the deletion of an object; it stays while it has finalizers, or a kubelet that stops it."""
        metadata = raw["metadata"]
        if "deletionTimestamp" not in metadata or grace_seconds == 0:
            before = copy_json(raw)
            metadata["generation"] += 1
            running = raw.get("kind") == "Pod" and raw.get("spec", {}).get("nodeName")
            given = raw.get("spec", {}).get("terminationGracePeriodSeconds")
            own = min(max(given, 0), 10**9) if isinstance(given, int) else 30
            grace = (own if grace_seconds is None else grace_seconds) if running and _is_unfinished(raw) else 0
            # When it is over. Source: BeforeDelete in k8s.io/apiserver/pkg/registry/rest/delete.go
            metadata["deletionTimestamp"] = (self.now() + timedelta(seconds=grace)).isoformat()
            metadata["deletionGracePeriodSeconds"] = grace
            self._touch(before, raw)
        self._collect()

    def _touch(self, before: Object, raw: Object) -> None:
        if raw != before:
            raw["metadata"]["resourceVersion"] = str(next(self._versions))
            if raw.get("spec") != before.get("spec"):
                raw["metadata"]["generation"] += 1

    def _collect(self) -> None:
        """Remove what is deleted and held by nothing, then what it owned."""
        while gone := [key for key, raw in self.objects.items() if _is_free(raw["metadata"])]:
            for key in gone:
                uid = self.objects.pop(key)["metadata"]["uid"]
                self.applied.pop(key, None)
                for owned in list(self.objects.values()):
                    owners = owned["metadata"].get("ownerReferences", [])
                    if any(owner["uid"] == uid for owner in owners) and "deletionTimestamp" not in owned["metadata"]:
                        owned["metadata"] |= {"deletionTimestamp": "now", "deletionGracePeriodSeconds": 0}

    def _call(self, verb: str, kind: Kind, what: str) -> None:
        self.calls.append((verb, kind.plural, what))
        if self.crash_at is not None and not self.crash_after_effect:
            self._count_down()

    def _done(self, answer: Answer) -> Answer:
        if self.crash_at is not None and self.crash_after_effect:
            self._count_down()
        return answer

    def _count_down(self) -> None:
        assert self.crash_at is not None
        if self.crash_at == 0:
            self.crash_at = None
            raise Crash
        self.crash_at -= 1


def copy_json(value: Value) -> Value:
    """Return a copy that shares nothing that can change; several times faster than copy.deepcopy."""
    if isinstance(value, dict):
        return {key: copy_json(inner) for key, inner in value.items()}  # type: ignore[return-value]  # mypy can't see that Value is a dict
    if isinstance(value, list):
        return [copy_json(inner) for inner in value]  # type: ignore[return-value]  # nor that it is a list
    return value


def merge(patch: Object, target: Object) -> None:
    """Merge a patch as RFC 7396 says."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            if not isinstance(target.get(key), dict):
                target[key] = {}
            merge(value, target[key])
        else:
            target[key] = copy_json(value)


_IDENTITY = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace"), ("metadata", "uid")}


def _iterate_fields(value: Object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the paths of all values that are no objects, or empty ones."""
    for name, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from _iterate_fields(inner, (*path, name))
        else:
            yield (*path, name), inner


def _put(raw: Object, path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        if not isinstance(raw.get(name), dict):
            raw[name] = {}
        raw = raw[name]
    raw[path[-1]] = value


def _drop(raw: Object, path: tuple[str, ...]) -> None:
    """Remove a field, and the objects that are empty without it."""
    if len(path) > 1 and isinstance(raw.get(path[0]), dict):
        _drop(raw[path[0]], path[1:])
        if not raw[path[0]]:
            del raw[path[0]]
    elif len(path) == 1:
        raw.pop(path[0], None)


def _is_free(metadata: Object) -> bool:
    held = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    return "deletionTimestamp" in metadata and not held


def _is_unfinished(raw: Object) -> bool:
    return raw.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def _matches_fields(raw: Object, fields: str) -> bool:
    for requirement in filter(None, fields.split(",")):
        path, _, value = requirement.partition("=")
        found: Any = raw
        for part in path.split("."):
            found = found.get(part, {})
        if found != value:
            return False
    return True
