"""Parts of a pod in a RunnerPool's spec, as in Kubernetes: tolerations, affinity, volumes and their mounts.

They are models and not free-form objects, so that the API server rejects invalid values when a pool is applied, not
when its first pod is created, and so that ``kubectl explain`` describes them. Field names are those of Kubernetes.
In-tree volume drivers (iscsi, rbd ...) are omitted, as csi replaces them.
Sources: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/ and
https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/volume/
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from bessemer.api.base import ATOMIC_LIST, ApiModel, cel
from bessemer.api.fields import FROM_NUMBER, DnsLabel, ObjectName

QUANTITY_PATTERN = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]{1,2})?$"
"""A quantity that is not negative, as Kubernetes' documentation has it; what its parser takes besides is refused, as it
is a slip: a unit without a number, such as Mi, is 0 to it. No more than two digits of an exponent, as it cuts larger
and smaller quantities off at 2^63-1 and at 1n.
Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/"""
Quantity = Annotated[
    str,
    Field(
        pattern=QUANTITY_PATTERN,
        max_length=32,
        json_schema_extra={"x-kubernetes-int-or-string": True, "minimum": 0},
    ),
    FROM_NUMBER,
]
"""A string, or a whole number; a schema can't say that other numbers are taken, too: 0.5 has to be quoted."""
Quantities = Annotated[dict[str, Quantity], Field(max_length=16)]
_PREFIXED = r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LabelKey = Annotated[str, Field(pattern=rf"^{_PREFIXED}$", max_length=317)]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
LabelValues = Annotated[list[LabelValue], Field(max_length=64, json_schema_extra=ATOMIC_LIST)]
Labels = Annotated[dict[str, LabelValue], Field(max_length=32)]
Weight = Annotated[int, Field(ge=1, le=100)]
Mode = Annotated[int, Field(ge=0, le=0o777)]
AbsolutePath = Annotated[str, Field(pattern=r"^/[^\s:]*$", max_length=4096)]
_STEP = r"([^/.][^/]*|\.[^/.][^/]*|\.\.[^/]+|\.)"  # anything but ..
RelativePath = Annotated[str, Field(pattern=rf"^{_STEP}(/+{_STEP})*/*$", min_length=1, max_length=1024)]
"""A relative path without ``..``. A pattern, because a CEL rule in nested lists would exceed the CRD's cost budget."""


class PodPart(ApiModel):
    """A part of a pod as written by the user."""

    def to_api(self) -> dict[str, Any]:
        """Return only the given fields, without defaults: for Kubernetes, an empty selector differs from an
        absent one.
        """
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


class Toleration(PodPart):
    """Lets pods run on nodes with a matching taint."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.key) || self.operator == 'Exists'", "operator must be Exists where there is no key"),
            ("self.operator != 'Exists' || !has(self.value)", "value must be left out with operator Exists"),
            (
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "effect must be NoExecute where tolerationSeconds is given",
            ),
        )
    )

    key: LabelKey | None = None
    """Key of the taint. If absent, with operator Exists, all taints match."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Equal: the taint must have this value. Exists: any value matches."""
    value: LabelValue | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. If absent, all effects match."""
    toleration_seconds: int | None = Field(default=None, ge=-(2**31), le=2**31)
    """Number of seconds for which a pod stays on the node after a taint with effect NoExecute is added. If absent, it
    stays."""


class NodeRequirement(PodPart):
    """A requirement for a label or field of nodes."""

    key: LabelKey
    """Name of the label or field."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How the label or field is compared with values."""
    values: LabelValues = Field(default_factory=list)
    """Values: one or more for In and NotIn, one integer for Gt and Lt, none otherwise."""


NodeRequirements = Annotated[list[NodeRequirement], Field(max_length=16, json_schema_extra=ATOMIC_LIST)]


class NodeTerm(PodPart):
    """Selects nodes that meet all requirements."""

    match_expressions: NodeRequirements = Field(default_factory=list)
    """Requirements for labels of nodes."""
    match_fields: NodeRequirements = Field(default_factory=list)
    """Requirements for fields of nodes, such as metadata.name."""


class NodeChoice(PodPart):
    """Selects nodes that match at least one of the terms."""

    node_selector_terms: list[NodeTerm] = Field(min_length=1, max_length=16, json_schema_extra=ATOMIC_LIST)
    """Node selector terms, of which at least one must match."""


class PreferredNode(PodPart):
    """A preference for nodes."""

    weight: Weight
    """Weight of the preference, 1 to 100."""
    preference: NodeTerm
    """The preferred nodes."""


class NodeAffinity(PodPart):
    """Node affinity of the pods."""

    required: NodeChoice | None = Field(default=None, alias="requiredDuringSchedulingIgnoredDuringExecution")
    """Nodes on which the pods may run."""
    preferred: list[PreferredNode] = Field(
        default_factory=list,
        alias="preferredDuringSchedulingIgnoredDuringExecution",
        max_length=16,
        json_schema_extra=ATOMIC_LIST,
    )
    """Nodes on which the pods run preferably."""


class LabelRequirement(PodPart):
    """A requirement for a label."""

    key: LabelKey
    """Key of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared with values."""
    values: LabelValues = Field(default_factory=list)
    """Values: one or more for In and NotIn, none otherwise."""


class LabelSelector(PodPart):
    """Selects objects that meet all requirements; an empty selector selects all objects."""

    match_labels: Labels = Field(default_factory=dict)
    """Labels that the objects must have."""
    match_expressions: list[LabelRequirement] = Field(
        default_factory=list, max_length=16, json_schema_extra=ATOMIC_LIST
    )
    """Requirements for labels of the objects."""


class PodTerm(PodPart):
    """Selects pods, and the topology in which they are compared."""

    topology_key: LabelKey
    """Label of nodes that defines the topology, such as kubernetes.io/hostname: nodes with the same value count as one
    location."""
    label_selector: LabelSelector | None = None
    """Selects pods. If absent, no pod is selected."""
    namespaces: list[DnsLabel] = Field(default_factory=list, max_length=16, json_schema_extra=ATOMIC_LIST)
    """Namespaces of the pods. If this and namespaceSelector are absent, the pool's namespace."""
    namespace_selector: LabelSelector | None = None
    """Selects namespaces of the pods by their labels."""
    match_label_keys: list[LabelKey] = Field(default_factory=list, max_length=16, json_schema_extra=ATOMIC_LIST)
    """Keys of labels whose values must equal those of the new pod."""
    mismatch_label_keys: list[LabelKey] = Field(default_factory=list, max_length=16, json_schema_extra=ATOMIC_LIST)
    """Keys of labels whose values must differ from those of the new pod."""


class PreferredPods(PodPart):
    """A preference for running with, or apart from, other pods."""

    weight: Weight
    """Weight of the preference, 1 to 100."""
    pod_affinity_term: PodTerm
    """The other pods."""


class PodAffinity(PodPart):
    """Rules for running with, or apart from, other pods."""

    required: list[PodTerm] = Field(
        default_factory=list,
        alias="requiredDuringSchedulingIgnoredDuringExecution",
        max_length=8,
        json_schema_extra=ATOMIC_LIST,
    )
    """Rules that must be met."""
    preferred: list[PreferredPods] = Field(
        default_factory=list,
        alias="preferredDuringSchedulingIgnoredDuringExecution",
        max_length=8,
        json_schema_extra=ATOMIC_LIST,
    )
    """Rules that are met if possible."""


class Affinity(PodPart):
    """Affinity rules of the pods."""

    node_affinity: NodeAffinity | None = None
    """Rules for nodes."""
    pod_affinity: PodAffinity | None = None
    """Rules for running in the same location as other pods."""
    pod_anti_affinity: PodAffinity | None = None
    """Rules for running in another location than other pods."""


class VolumeMount(PodPart):
    """Mounts a volume in the container."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("!has(self.subPath) || !has(self.subPathExpr)", "only one of subPath and subPathExpr can be given")
        )
    )

    name: DnsLabel
    """Name of the volume."""
    mount_path: AbsolutePath
    """Path in the container."""
    read_only: bool | None = None
    """Whether the mount is read-only."""
    recursive_read_only: Literal["Disabled", "IfPossible", "Enabled"] | None = None
    """Whether mounts below it are read-only as well."""
    sub_path: RelativePath | None = None
    """Path in the volume. Defaults to the root of the volume."""
    sub_path_expr: RelativePath | None = None
    """Path in the volume, in which $(VARIABLE) is replaced with an environment variable of the container."""
    mount_propagation: Literal["None", "HostToContainer"] | None = None
    """Whether later mounts on the node are visible in the container."""


class KeyToPath(PodPart):
    """Maps a key to a file."""

    key: str = Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)
    """Name of the key."""
    path: RelativePath
    """Path of the file in the volume."""
    mode: Mode | None = None
    """Permissions of the file."""


Keys = Annotated[list[KeyToPath], Field(max_length=32, json_schema_extra=ATOMIC_LIST)]


class FieldReference(PodPart):
    """Selects a field of the pod."""

    field_path: str = Field(pattern=r"^(metadata|spec|status)\.[A-Za-z0-9_./'\[\]-]+$", max_length=512)
    """Path of the field, such as metadata.labels."""
    api_version: Literal["v1"] | None = None
    """API version of the path."""


class ResourceReference(PodPart):
    """Selects a resource request or limit of a container."""

    resource: str = Field(pattern=r"^(requests|limits)\.[a-z0-9./-]+$", max_length=256)
    """Name of the resource, such as limits.memory."""
    container_name: DnsLabel
    """Name of the container."""
    divisor: Quantity | None = None
    """Unit of the value."""


class DownwardFile(PodPart):
    """A file with information about the pod."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.fieldRef) != has(self.resourceFieldRef)", "one of fieldRef and resourceFieldRef is required")
        )
    )

    path: RelativePath
    """Path of the file in the volume."""
    field_ref: FieldReference | None = None
    """A field of the pod."""
    resource_field_ref: ResourceReference | None = None
    """A resource request or limit of a container."""
    mode: Mode | None = None
    """Permissions of the file."""


DownwardFiles = Annotated[list[DownwardFile], Field(max_length=32, json_schema_extra=ATOMIC_LIST)]


class HostPathSource(PodPart):
    """A path on the node; rejected unless the administrator of the operator allows it."""

    path: AbsolutePath
    """Path on the node."""
    type: (
        Literal["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"]
        | None
    ) = None
    """Required type of the path. If absent, it is not checked."""


class EmptyDirSource(PodPart):
    """A directory that is created empty and deleted with the pod."""

    medium: Literal["", "Memory", "HugePages", "HugePages-2Mi", "HugePages-1Gi"] | None = None
    """Storage medium. Defaults to the node's disk."""
    size_limit: Quantity | None = None
    """Maximum size."""


class SecretSource(PodPart):
    """A Secret in the pool's namespace."""

    secret_name: ObjectName
    """Name of the Secret."""
    items: Keys = Field(default_factory=list)
    """Keys to mount. Defaults to all keys."""
    default_mode: Mode | None = None
    """Permissions of the files."""
    optional: bool | None = None
    """Whether pods can start if it does not exist."""


class ConfigMapSource(PodPart):
    """A ConfigMap in the pool's namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    items: Keys = Field(default_factory=list)
    """Keys to mount. Defaults to all keys."""
    default_mode: Mode | None = None
    """Permissions of the files."""
    optional: bool | None = None
    """Whether pods can start if it does not exist."""


class ClaimSource(PodPart):
    """A PersistentVolumeClaim in the pool's namespace, which all pods share."""

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim."""
    read_only: bool | None = None
    """Whether the volume is read-only."""


class ClaimMetadata(PodPart):
    """Metadata of the PersistentVolumeClaims."""

    labels: Labels = Field(default_factory=dict)
    """Labels of the PersistentVolumeClaims."""
    annotations: Annotated[dict[str, str], Field(max_length=32)] = Field(default_factory=dict)
    """Annotations of the PersistentVolumeClaims."""


class ClaimResources(PodPart):
    """Requested size of the volume."""

    requests: Quantities = Field(default_factory=dict)
    """Minimum size, such as storage: 10Gi."""
    limits: Quantities = Field(default_factory=dict)
    """Maximum size."""


class ClaimSpec(PodPart):
    """Spec of the PersistentVolumeClaims."""

    access_modes: list[Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]] = Field(
        min_length=1, max_length=4, json_schema_extra=ATOMIC_LIST
    )
    """Access modes of the volume."""
    resources: ClaimResources
    """Requested size of the volume."""
    storage_class_name: ObjectName | None = None
    """Name of the StorageClass. Defaults to the cluster's default StorageClass."""
    volume_mode: Literal["Filesystem"] | None = None
    """Must be Filesystem, as runner pods mount the volume."""
    selector: LabelSelector | None = None
    """Selects PersistentVolumes by their labels."""


class ClaimTemplate(PodPart):
    """Template of the PersistentVolumeClaims."""

    metadata: ClaimMetadata = ClaimMetadata()
    """Metadata of the PersistentVolumeClaims."""
    spec: ClaimSpec
    """Spec of the PersistentVolumeClaims."""


class EphemeralSource(PodPart):
    """A separate PersistentVolumeClaim for each pod, which is deleted with the pod."""

    volume_claim_template: ClaimTemplate
    """Template of the PersistentVolumeClaims."""


class NfsSource(PodPart):
    """An exported directory of an NFS server; the node mounts it."""

    server: str = Field(pattern=r"^[^\s]+$", max_length=253)
    """Host name or address of the NFS server."""
    path: AbsolutePath
    """Exported directory."""
    read_only: bool | None = None
    """Whether the volume is read-only."""


class LocalReference(PodPart):
    """A reference to an object in the pool's namespace."""

    name: ObjectName
    """Name of the object."""


class CsiSource(PodPart):
    """A volume that a CSI driver provides for each pod."""

    driver: ObjectName
    """Name of the CSI driver."""
    fs_type: str | None = Field(default=None, pattern=r"^[a-z0-9]+$", max_length=32)
    """Type of the file system."""
    read_only: bool | None = None
    """Whether the volume is read-only."""
    volume_attributes: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = Field(
        default_factory=dict
    )
    """Driver-specific attributes of the volume."""
    node_publish_secret_ref: LocalReference | None = None
    """The Secret that is passed to the driver."""


class ProjectedSecret(PodPart):
    """A Secret in the pool's namespace."""

    name: ObjectName
    """Name of the Secret."""
    items: Keys = Field(default_factory=list)
    """Keys to mount. Defaults to all keys."""
    optional: bool | None = None
    """Whether pods can start if it does not exist."""


class ProjectedConfigMap(PodPart):
    """A ConfigMap in the pool's namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    items: Keys = Field(default_factory=list)
    """Keys to mount. Defaults to all keys."""
    optional: bool | None = None
    """Whether pods can start if it does not exist."""


class ProjectedDownward(PodPart):
    """Files with information about the pod (downward API)."""

    items: DownwardFiles = Field(default_factory=list)
    """Files in the volume."""


class ServiceAccountToken(PodPart):
    """A token of the pod's ServiceAccount; rejected unless the administrator of the operator allows it."""

    path: RelativePath
    """Path of the file in the volume."""
    audience: str | None = Field(default=None, max_length=2048)
    """Intended audience of the token. Defaults to the API server."""
    expiration_seconds: int | None = Field(default=None, ge=600, le=2**32)
    """Lifetime of the token in seconds."""


_PROJECTIONS = ("secret", "configMap", "downwardAPI", "serviceAccountToken")
_SOURCES = (
    "hostPath", "emptyDir", "secret", "configMap", "persistentVolumeClaim", "ephemeral", "nfs", "csi", "projected",
    "downwardAPI", "image",
)  # fmt: skip
"""Field names of the volume types."""


def _one_of(names: tuple[str, ...], what: str) -> tuple[str, str]:
    given = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names)
    return f"{given} == 1", f"{what} is required: one of {', '.join(names)}"


class Projection(PodPart):
    """One source of a projected volume."""

    model_config = ConfigDict(json_schema_extra=cel(_one_of(_PROJECTIONS, "exactly one source")))

    secret: ProjectedSecret | None = None
    """A Secret."""
    config_map: ProjectedConfigMap | None = None
    """A ConfigMap."""
    downward_api: ProjectedDownward | None = Field(default=None, alias="downwardAPI")
    """Files with information about the pod (downward API)."""
    service_account_token: ServiceAccountToken | None = None
    """A token of the pod's ServiceAccount."""


class ProjectedSource(PodPart):
    """A projected volume: several sources in one volume."""

    sources: list[Projection] = Field(min_length=1, max_length=16, json_schema_extra=ATOMIC_LIST)
    """Sources of the volume."""
    default_mode: Mode | None = None
    """Permissions of the files."""


class DownwardSource(PodPart):
    """Files with information about the pod (downward API)."""

    items: DownwardFiles = Field(default_factory=list)
    """Files in the volume."""
    default_mode: Mode | None = None
    """Permissions of the files."""


class ImageSource(PodPart):
    """The contents of an image or another OCI artifact."""

    reference: str = Field(pattern=r"^[^\s]+$", min_length=1, max_length=512)
    """Reference of the image."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """Image pull policy."""


class Volume(PodPart):
    """A volume of the pods."""

    model_config = ConfigDict(json_schema_extra=cel(_one_of(_SOURCES, "exactly one kind of volume")))

    name: DnsLabel
    """Name of the volume, used in volumeMounts."""
    host_path: HostPathSource | None = None
    """A path on the node."""
    empty_dir: EmptyDirSource | None = None
    """A directory that is created empty and deleted with the pod."""
    secret: SecretSource | None = None
    """A Secret."""
    config_map: ConfigMapSource | None = None
    """A ConfigMap."""
    persistent_volume_claim: ClaimSource | None = None
    """An existing PersistentVolumeClaim."""
    ephemeral: EphemeralSource | None = None
    """A separate PersistentVolumeClaim for each pod."""
    nfs: NfsSource | None = None
    """An exported directory of an NFS server."""
    csi: CsiSource | None = None
    """A volume of a CSI driver."""
    projected: ProjectedSource | None = None
    """Several sources in one volume."""
    downward_api: DownwardSource | None = Field(default=None, alias="downwardAPI")
    """Files with information about the pod (downward API)."""
    image: ImageSource | None = None
    """The contents of an image."""

    @model_validator(mode="after")
    def _check_source(self) -> Volume:
        given = [name for name in type(self).model_fields if name != "name" and getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one kind of volume is required: one of {', '.join(_SOURCES)}")
        return self
