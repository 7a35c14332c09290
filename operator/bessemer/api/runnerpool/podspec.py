"""The part of a RunnerPool's spec about its pods: the supported fields of a pod."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from bessemer.api.base import ATOMIC_LIST, ApiModel, cel, list_map
from bessemer.api.fields import ObjectName, SecretName
from bessemer.api.group import GROUP
from bessemer.api.runnerpool.podtypes import Affinity, Quantities, Toleration, Volume, VolumeMount

ImageName = Annotated[str, Field(pattern=r"^[^\s]+$", min_length=1, max_length=512)]
PullPolicy = Annotated[str, Field(pattern=r"^(Always|IfNotPresent|Never)$", max_length=16)]

_OURS = f"names that begin with {GROUP}/ are reserved for Bessemer"


def _refuse_ours(given: dict[str, str]) -> dict[str, str]:
    found = next((name for name in given if name.startswith(f"{GROUP}/")), None)
    if found is not None:
        raise ValueError(f"{found}: {_OURS}")
    return given


Names = Annotated[
    dict[str, str],
    Field(max_length=32, json_schema_extra=cel((f"!self.exists(name, name.startsWith('{GROUP}/'))", _OURS))),
    AfterValidator(_refuse_ours),
]
"""Labels or annotations that users may add to pods of the operator."""


class Resources(ApiModel):
    """Resource requests and limits of the runner container."""

    requests: Quantities = Field(default_factory=dict)
    """Resource requests, such as cpu: 500m."""
    limits: Quantities = Field(default_factory=dict)
    """Resource limits, such as memory: 2Gi."""


class EnvironmentVariable(ApiModel):
    """An environment variable of jobs."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)
    """Name of the variable."""
    value: str = Field(default="", max_length=4096)
    """Value of the variable. Don't put secrets here: use GitLab's masked variables, or a volume with a Secret."""


class PullSecret(ApiModel):
    """A Secret with the credentials of an image registry, in the pool's namespace."""

    name: SecretName
    """Name of the Secret."""


PullSecrets = Annotated[list[PullSecret], Field(max_length=8, json_schema_extra=list_map("name"))]


class RunnerPodSpec(ApiModel):
    """Settings of the runner pods."""

    image: ImageName | None = None
    """Image with gitlab-runner, bash and the tools that shell jobs need. Defaults to the image in the operator's
    chart."""
    image_pull_policy: PullPolicy | None = None
    """Image pull policy: Always, IfNotPresent or Never. Defaults to the one in the operator's chart."""
    image_pull_secrets: PullSecrets = Field(default_factory=list)
    """Image pull Secrets in the pool's namespace, as in a pod. Defaults to those in the operator's chart."""
    resources: Resources = Resources()
    """Resource requests and limits of the runner container."""
    environment: list[EnvironmentVariable] = Field(
        default_factory=list, max_length=64, json_schema_extra=list_map("name")
    )
    """Environment variables of all jobs."""
    node_selector: Annotated[dict[str, str], Field(max_length=32)] = Field(default_factory=dict)
    """Labels that nodes must have for the pods to run on them."""
    tolerations: list[Toleration] = Field(default_factory=list, max_length=32, json_schema_extra=ATOMIC_LIST)
    """Tolerations, as in a pod."""
    affinity: Affinity | None = None
    """Affinity, as in a pod."""
    volumes: list[Volume] = Field(default_factory=list, max_length=32, json_schema_extra=ATOMIC_LIST)
    """Additional volumes, as in a pod. In-tree volume drivers of Kubernetes, such as iscsi, are not supported: use
    csi."""
    volume_mounts: list[VolumeMount] = Field(default_factory=list, max_length=32, json_schema_extra=ATOMIC_LIST)
    """Mounts of the additional volumes, as in a container."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods."""
    labels: Names = Field(default_factory=dict)
    """Additional labels of the pods. The prefix bessemer.dev/ is reserved."""
    annotations: Names = Field(default_factory=dict)
    """Additional annotations of the pods. The prefix bessemer.dev/ is reserved."""
