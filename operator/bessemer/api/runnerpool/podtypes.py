"""Parts of a pod that a RunnerPool's spec has as Kubernetes has them: tolerations, affinity, volumes and their mounts.

They are models and no free form, so that the API server refuses what Kubernetes would refuse, when a pool is applied
and not when its first pod is created, and so that ``kubectl explain`` has them. Names are those of Kubernetes; of the
sources of volumes, those that need a driver in Kubernetes itself (iscsi, rbd ...) are left out: csi has them.
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
"""A path that stays below where it begins. A pattern, as a CEL rule in lists of lists is beyond the budget of a CRD."""


class PodPart(ApiModel):
    """A part of a pod as the user gave it."""

    def to_api(self) -> dict[str, Any]:
        """Return what was given, and no default: an empty selector is not the same to Kubernetes as none."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


class Toleration(PodPart):
    """A taint of nodes that does not keep the pods away."""

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
    """The taint's key; all taints where it is left out, with operator Exists."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Equal: the taint has this value. Exists: whatever its value is."""
    value: LabelValue | None = None
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; all where it is left out."""
    toleration_seconds: int | None = Field(default=None, ge=-(2**31), le=2**31)
    """How long a pod stays once a taint with effect NoExecute is there; for ever where it is left out."""


class NodeRequirement(PodPart):
    """What is asked of a node's label or field."""

    key: LabelKey
    """The label or field."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How the values are compared with it."""
    values: LabelValues = Field(default_factory=list)
    """The values: one or more for In and NotIn, a whole number for Gt and Lt, else none."""


NodeRequirements = Annotated[list[NodeRequirement], Field(max_length=16, json_schema_extra=ATOMIC_LIST)]


class NodeTerm(PodPart):
    """Nodes that meet all of these."""

    match_expressions: NodeRequirements = Field(default_factory=list)
    """By labels."""
    match_fields: NodeRequirements = Field(default_factory=list)
    """By fields, such as metadata.name."""


class NodeChoice(PodPart):
    """Nodes that meet any of the terms."""

    node_selector_terms: list[NodeTerm] = Field(min_length=1, max_length=16, json_schema_extra=ATOMIC_LIST)
    """The terms."""


class PreferredNode(PodPart):
    """Nodes that are taken rather than others."""

    weight: Weight
    """How much rather."""
    preference: NodeTerm
    """Which nodes."""


class NodeAffinity(PodPart):
    """Which nodes the pods may run on, and which rather than others."""

    required: NodeChoice | None = Field(default=None, alias="requiredDuringSchedulingIgnoredDuringExecution")
    """Nodes that the pods may run on."""
    preferred: list[PreferredNode] = Field(
        default_factory=list,
        alias="preferredDuringSchedulingIgnoredDuringExecution",
        max_length=16,
        json_schema_extra=ATOMIC_LIST,
    )
    """Nodes that are taken rather than others."""


class LabelRequirement(PodPart):
    """What is asked of a label."""

    key: LabelKey
    """The label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the values are compared with it."""
    values: LabelValues = Field(default_factory=list)
    """The values: one or more for In and NotIn, else none."""


class LabelSelector(PodPart):
    """Objects that have all of these labels; all objects where nothing is given."""

    match_labels: Labels = Field(default_factory=dict)
    """Labels with their values."""
    match_expressions: list[LabelRequirement] = Field(
        default_factory=list, max_length=16, json_schema_extra=ATOMIC_LIST
    )
    """What is asked of labels."""


class PodTerm(PodPart):
    """Pods, and what counts as one place."""

    topology_key: LabelKey
    """The label of nodes whose value says what is one place, such as kubernetes.io/hostname."""
    label_selector: LabelSelector | None = None
    """Which pods; none where it is left out."""
    namespaces: list[DnsLabel] = Field(default_factory=list, max_length=16, json_schema_extra=ATOMIC_LIST)
    """Their namespaces; that of the pool where this and namespaceSelector are left out."""
    namespace_selector: LabelSelector | None = None
    """Their namespaces, by labels."""
    match_label_keys: list[LabelKey] = Field(default_factory=list, max_length=16, json_schema_extra=ATOMIC_LIST)
    """Labels in which they are to be like the new pod."""
    mismatch_label_keys: list[LabelKey] = Field(default_factory=list, max_length=16, json_schema_extra=ATOMIC_LIST)
    """Labels in which they are to differ from the new pod."""


class PreferredPods(PodPart):
    """Pods that it is better to be with, or apart from."""

    weight: Weight
    """How much better."""
    pod_affinity_term: PodTerm
    """Which pods."""


class PodAffinity(PodPart):
    """Which pods the new one is with, or apart from."""

    required: list[PodTerm] = Field(
        default_factory=list,
        alias="requiredDuringSchedulingIgnoredDuringExecution",
        max_length=8,
        json_schema_extra=ATOMIC_LIST,
    )
    """Always."""
    preferred: list[PreferredPods] = Field(
        default_factory=list,
        alias="preferredDuringSchedulingIgnoredDuringExecution",
        max_length=8,
        json_schema_extra=ATOMIC_LIST,
    )
    """Where it can be."""


class Affinity(PodPart):
    """Where the pods may run, and where rather than elsewhere."""

    node_affinity: NodeAffinity | None = None
    """By nodes."""
    pod_affinity: PodAffinity | None = None
    """Where other pods are."""
    pod_anti_affinity: PodAffinity | None = None
    """Where other pods are not."""


class VolumeMount(PodPart):
    """Where a volume is mounted."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("!has(self.subPath) || !has(self.subPathExpr)", "only one of subPath and subPathExpr can be given")
        )
    )

    name: DnsLabel
    """Name of the volume."""
    mount_path: AbsolutePath
    """Where in the container."""
    read_only: bool | None = None
    """Whether nothing can be written to it."""
    recursive_read_only: Literal["Disabled", "IfPossible", "Enabled"] | None = None
    """Whether mounts below it are read-only, too."""
    sub_path: RelativePath | None = None
    """The path in the volume; its root where it is left out."""
    sub_path_expr: RelativePath | None = None
    """The same, with $(VARIABLE) for variables of the container."""
    mount_propagation: Literal["None", "HostToContainer"] | None = None
    """Whether mounts that are made on the node later are seen."""


class KeyToPath(PodPart):
    """A key that becomes a file."""

    key: str = Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)
    """The key."""
    path: RelativePath
    """The file's path in the volume."""
    mode: Mode | None = None
    """The file's permissions."""


Keys = Annotated[list[KeyToPath], Field(max_length=32, json_schema_extra=ATOMIC_LIST)]


class FieldReference(PodPart):
    """A field of the pod."""

    field_path: str = Field(pattern=r"^(metadata|spec|status)\.[A-Za-z0-9_./'\[\]-]+$", max_length=512)
    """Its path, such as metadata.labels."""
    api_version: Literal["v1"] | None = None
    """The version that the path is of."""


class ResourceReference(PodPart):
    """A request or a limit of a container."""

    resource: str = Field(pattern=r"^(requests|limits)\.[a-z0-9./-]+$", max_length=256)
    """Such as limits.memory."""
    container_name: DnsLabel
    """The container."""
    divisor: Quantity | None = None
    """The unit it is told in."""


class DownwardFile(PodPart):
    """A file with what the pod knows of itself."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.fieldRef) != has(self.resourceFieldRef)", "one of fieldRef and resourceFieldRef is required")
        )
    )

    path: RelativePath
    """The file's path in the volume."""
    field_ref: FieldReference | None = None
    """A field of the pod."""
    resource_field_ref: ResourceReference | None = None
    """A request or a limit of a container."""
    mode: Mode | None = None
    """The file's permissions."""


DownwardFiles = Annotated[list[DownwardFile], Field(max_length=32, json_schema_extra=ATOMIC_LIST)]


class HostPathSource(PodPart):
    """A path of the node; refused unless the operator's administrator allows it."""

    path: AbsolutePath
    """The path."""
    type: (
        Literal["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"]
        | None
    ) = None
    """What has to be there; nothing is looked at where it is left out."""


class EmptyDirSource(PodPart):
    """An empty directory that lives as long as the pod."""

    medium: Literal["", "Memory", "HugePages", "HugePages-2Mi", "HugePages-1Gi"] | None = None
    """Where it lies; on the node's disk where it is left out."""
    size_limit: Quantity | None = None
    """How much it may hold."""


class SecretSource(PodPart):
    """A Secret in the pool's namespace."""

    secret_name: ObjectName
    """Its name."""
    items: Keys = Field(default_factory=list)
    """Which keys; all where it is left out."""
    default_mode: Mode | None = None
    """Permissions of the files."""
    optional: bool | None = None
    """Whether pods start without it."""


class ConfigMapSource(PodPart):
    """A ConfigMap in the pool's namespace."""

    name: ObjectName
    """Its name."""
    items: Keys = Field(default_factory=list)
    """Which keys; all where it is left out."""
    default_mode: Mode | None = None
    """Permissions of the files."""
    optional: bool | None = None
    """Whether pods start without it."""


class ClaimSource(PodPart):
    """A PersistentVolumeClaim in the pool's namespace, which all pods share."""

    claim_name: ObjectName
    """Its name."""
    read_only: bool | None = None
    """Whether nothing can be written to it."""


class ClaimMetadata(PodPart):
    """What a claim is given."""

    labels: Labels = Field(default_factory=dict)
    """Labels."""
    annotations: Annotated[dict[str, str], Field(max_length=32)] = Field(default_factory=dict)
    """Annotations."""


class ClaimResources(PodPart):
    """How much a claim is for."""

    requests: Quantities = Field(default_factory=dict)
    """At least, such as storage: 10Gi."""
    limits: Quantities = Field(default_factory=dict)
    """At most."""


class ClaimSpec(PodPart):
    """What a claim is for."""

    access_modes: list[Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]] = Field(
        min_length=1, max_length=4, json_schema_extra=ATOMIC_LIST
    )
    """How it is mounted."""
    resources: ClaimResources
    """How much it is for."""
    storage_class_name: ObjectName | None = None
    """The StorageClass; the cluster's default where it is left out."""
    volume_mode: Literal["Filesystem"] | None = None
    """A file system: pods of a pool mount it."""
    selector: LabelSelector | None = None
    """Which PersistentVolumes may serve it."""


class ClaimTemplate(PodPart):
    """What claims are made from."""

    metadata: ClaimMetadata = ClaimMetadata()
    """What they are given."""
    spec: ClaimSpec
    """What they are for."""


class EphemeralSource(PodPart):
    """A PersistentVolumeClaim of each pod's own, which goes with it."""

    volume_claim_template: ClaimTemplate
    """What it is made from."""


class NfsSource(PodPart):
    """A directory of an NFS server; the node mounts it."""

    server: str = Field(pattern=r"^[^\s]+$", max_length=253)
    """The server."""
    path: AbsolutePath
    """The directory."""
    read_only: bool | None = None
    """Whether nothing can be written to it."""


class LocalReference(PodPart):
    """An object in the pool's namespace."""

    name: ObjectName
    """Its name."""


class CsiSource(PodPart):
    """A volume that a CSI driver makes for each pod."""

    driver: ObjectName
    """The driver."""
    fs_type: str | None = Field(default=None, pattern=r"^[a-z0-9]+$", max_length=32)
    """The file system."""
    read_only: bool | None = None
    """Whether nothing can be written to it."""
    volume_attributes: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = Field(
        default_factory=dict
    )
    """What the driver is told."""
    node_publish_secret_ref: LocalReference | None = None
    """A Secret that the driver is given."""


class ProjectedSecret(PodPart):
    """A Secret in the pool's namespace."""

    name: ObjectName
    """Its name."""
    items: Keys = Field(default_factory=list)
    """Which keys; all where it is left out."""
    optional: bool | None = None
    """Whether pods start without it."""


class ProjectedConfigMap(PodPart):
    """A ConfigMap in the pool's namespace."""

    name: ObjectName
    """Its name."""
    items: Keys = Field(default_factory=list)
    """Which keys; all where it is left out."""
    optional: bool | None = None
    """Whether pods start without it."""


class ProjectedDownward(PodPart):
    """What the pod knows of itself."""

    items: DownwardFiles = Field(default_factory=list)
    """The files."""


class ServiceAccountToken(PodPart):
    """A token of the pod's ServiceAccount; refused unless the operator's administrator allows it."""

    path: RelativePath
    """The file's path in the volume."""
    audience: str | None = Field(default=None, max_length=2048)
    """Who is to take it; the API server where it is left out."""
    expiration_seconds: int | None = Field(default=None, ge=600, le=2**32)
    """How long it is good."""


_PROJECTIONS = ("secret", "configMap", "downwardAPI", "serviceAccountToken")
_SOURCES = (
    "hostPath", "emptyDir", "secret", "configMap", "persistentVolumeClaim", "ephemeral", "nfs", "csi", "projected",
    "downwardAPI", "image",
)  # fmt: skip
"""Kinds of volumes, by the names of their fields."""


def _one_of(names: tuple[str, ...], what: str) -> tuple[str, str]:
    given = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names)
    return f"{given} == 1", f"{what} is required: one of {', '.join(names)}"


class Projection(PodPart):
    """One of several sources of one volume."""

    model_config = ConfigDict(json_schema_extra=cel(_one_of(_PROJECTIONS, "exactly one source")))

    secret: ProjectedSecret | None = None
    """A Secret."""
    config_map: ProjectedConfigMap | None = None
    """A ConfigMap."""
    downward_api: ProjectedDownward | None = Field(default=None, alias="downwardAPI")
    """What the pod knows of itself."""
    service_account_token: ServiceAccountToken | None = None
    """A token of the pod's ServiceAccount."""


class ProjectedSource(PodPart):
    """Several sources in one volume."""

    sources: list[Projection] = Field(min_length=1, max_length=16, json_schema_extra=ATOMIC_LIST)
    """The sources."""
    default_mode: Mode | None = None
    """Permissions of the files."""


class DownwardSource(PodPart):
    """What the pod knows of itself."""

    items: DownwardFiles = Field(default_factory=list)
    """The files."""
    default_mode: Mode | None = None
    """Permissions of the files."""


class ImageSource(PodPart):
    """The contents of an image, or of another artifact of a registry."""

    reference: str = Field(pattern=r"^[^\s]+$", min_length=1, max_length=512)
    """The image."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When it is pulled."""


class Volume(PodPart):
    """A volume of the pods."""

    model_config = ConfigDict(json_schema_extra=cel(_one_of(_SOURCES, "exactly one kind of volume")))

    name: DnsLabel
    """Its name, for volumeMounts."""
    host_path: HostPathSource | None = None
    """A path of the node."""
    empty_dir: EmptyDirSource | None = None
    """An empty directory that lives as long as the pod."""
    secret: SecretSource | None = None
    """A Secret."""
    config_map: ConfigMapSource | None = None
    """A ConfigMap."""
    persistent_volume_claim: ClaimSource | None = None
    """A PersistentVolumeClaim that is there."""
    ephemeral: EphemeralSource | None = None
    """A PersistentVolumeClaim of each pod's own."""
    nfs: NfsSource | None = None
    """A directory of an NFS server."""
    csi: CsiSource | None = None
    """A volume of a CSI driver."""
    projected: ProjectedSource | None = None
    """Several sources in one."""
    downward_api: DownwardSource | None = Field(default=None, alias="downwardAPI")
    """What the pod knows of itself."""
    image: ImageSource | None = None
    """The contents of an image."""

    @model_validator(mode="after")
    def _check_source(self) -> Volume:
        given = [name for name in type(self).model_fields if name != "name" and getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one kind of volume is required: one of {', '.join(_SOURCES)}")
        return self
