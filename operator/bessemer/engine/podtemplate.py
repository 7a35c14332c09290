"""The hardened pod template that all our pods share. Pure.

No root user, no capabilities, a read-only root file system, no service account token; labels of the owner.
"""

from __future__ import annotations

from typing import Any

from bessemer.api.base import Resource
from bessemer.api.names import build_label_value
from bessemer.api.wellknown import MANAGED_BY, MANAGED_BY_LABEL
from bessemer.kube.protocol import Object

USER_ID = 65532
"""UID of the unprivileged user of our images; also the GID that may read mounted Secrets."""
SECRET_MODE = 0o440
"""Mode of the files of a mounted Secret."""


def build_metadata(owner: Resource[Any, Any], name: str, label: str) -> Object:
    """Return the metadata of an object that ``owner`` owns; the label ``label`` has the owner's name as its value."""
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": {MANAGED_BY_LABEL: MANAGED_BY, label: build_label_value(owner.name)},
        "ownerReferences": [owner.owner_reference()],
    }


def build_pod_spec(grace_seconds: int, *, mount_token: bool = False) -> Object:
    """Return the part of a pod spec that all pods share."""
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": mount_token,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def build_container_security() -> Object:
    """Return the security context of a container."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def list_pull_secrets(names: str) -> list[Object]:
    """Return the imagePullSecrets for a setting: names, separated by commas."""
    return [{"name": name} for name in names.split(",") if name]
