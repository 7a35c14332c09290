"""The part of a RunnerPool's spec that says what its pods look like: the fields that we mean to support."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from bessemer.api.base import ATOMIC_LIST, GROUP, ApiModel, cel, list_map
from bessemer.api.fields import ObjectName, SecretName
from bessemer.api.runnerpool.podtypes import Affinity, Quantities, Toleration, Volume, VolumeMount

ImageName = Annotated[str, Field(pattern=r"^[^\s]+$", min_length=1, max_length=512)]
PullPolicy = Annotated[str, Field(pattern=r"^(Always|IfNotPresent|Never)$", max_length=16)]

_OURS = f"names that begin with {GROUP}/ are for Bessemer to give"


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
"""Labels or annotations that a user may give to what is ours."""


class Resources(ApiModel):
    """What the runner's container asks for, and may use."""

    requests: Quantities = Field(default_factory=dict)
    """What is set aside for it, such as cpu: 500m."""
    limits: Quantities = Field(default_factory=dict)
    """What it may use at most, such as memory: 2Gi."""


class EnvironmentVariable(ApiModel):
    """A variable of jobs' environment."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)
    """Its name."""
    value: str = Field(default="", max_length=4096)
    """Its value. No secrets: use GitLab's masked variables, or a volume with a Secret."""


class PullSecret(ApiModel):
    """A Secret with the credentials of an image registry, in the pool's namespace."""

    name: SecretName
    """Name of the Secret."""


PullSecrets = Annotated[list[PullSecret], Field(max_length=8, json_schema_extra=list_map("name"))]


class RunnerPodSpec(ApiModel):
    """The runner pods."""

    image: ImageName | None = None
    """Image with gitlab-runner, bash and what shell jobs need; by default that of the operator's chart."""
    image_pull_policy: PullPolicy | None = None
    """Always, IfNotPresent or Never; by default that of the operator's chart."""
    image_pull_secrets: PullSecrets = Field(default_factory=list)
    """Pull Secrets in the pool's namespace, as in a pod; by default those of the operator's chart."""
    resources: Resources = Resources()
    """What the runner's container asks for, and may use."""
    environment: list[EnvironmentVariable] = Field(
        default_factory=list, max_length=64, json_schema_extra=list_map("name")
    )
    """Variables that every job gets, by the runner's configuration."""
    node_selector: Annotated[dict[str, str], Field(max_length=32)] = Field(default_factory=dict)
    """Labels of the nodes that the pods may run on."""
    tolerations: list[Toleration] = Field(default_factory=list, max_length=32, json_schema_extra=ATOMIC_LIST)
    """Tolerations, as in a pod."""
    affinity: Affinity | None = None
    """Affinity, as in a pod."""
    volumes: list[Volume] = Field(default_factory=list, max_length=32, json_schema_extra=ATOMIC_LIST)
    """Further volumes, as in a pod, but for drivers that are part of Kubernetes itself, such as iscsi: csi has them."""
    volume_mounts: list[VolumeMount] = Field(default_factory=list, max_length=32, json_schema_extra=ATOMIC_LIST)
    """Where the further volumes are mounted, as in a container."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods."""
    labels: Names = Field(default_factory=dict)
    """Further labels of the pods; none of bessemer.dev/."""
    annotations: Names = Field(default_factory=dict)
    """Further annotations of the pods; none of bessemer.dev/."""
