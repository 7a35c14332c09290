"""The part of a RunnerPool's spec that says how a runner runs a job.

What an executor can be told beyond our fields goes under ``settings``, by the names that GitLab's documentation has:
https://docs.gitlab.com/runner/configuration/advanced-configuration/
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from bessemer.api.base import ATOMIC_LIST, ApiModel, cel
from bessemer.api.fields import ClusterBuildName, Directory, HostKey, HostOrAddress, Port, ServiceAccountName
from bessemer.api.references import SecretReference
from bessemer.api.runnerpool.executor_settings import (
    KINDS,
    CustomSettings,
    DockerSettings,
    KubernetesSettings,
    VirtualBoxSettings,
    refuse_both,
)
from bessemer.api.runnerpool.podspec import ImageName, PullPolicy, PullSecrets, Resources
from bessemer.api.runnerpool.podtypes import Quantities
from bessemer.api.runnerpool.sbatch import SbatchOption

Program = Annotated[str, Field(pattern=r"^/[^\s]*$", max_length=1024)]
Arguments = Annotated[list[str], Field(max_length=32, json_schema_extra=ATOMIC_LIST)]


class ExecutorType(StrEnum):
    """How a runner runs a job."""

    SHELL = "Shell"
    KUBERNETES = "Kubernetes"
    DOCKER = "Docker"
    SSH = "SSH"
    CUSTOM = "Custom"
    SLURM = "Slurm"
    VIRTUALBOX = "VirtualBox"


_JOB_KINDS = tuple(kind.replace("_", "-") for kind in KINDS)
_ONLY_THESE = (
    f"must be of {', '.join(_JOB_KINDS)}; others, such as nvidia.com/gpu, are given to jobs by settings.pod_spec, "
    "which needs FF_USE_ADVANCED_POD_SPEC_CONFIGURATION: true in spec.pod.environment"
)


def _check_kinds(quantities: dict[str, str]) -> dict[str, str]:
    if not set(quantities) <= set(_JOB_KINDS):
        raise ValueError(_ONLY_THESE)
    return quantities


_JobQuantities = Annotated[
    Quantities,
    Field(json_schema_extra=cel((f"self.all(kind, kind in {list(_JOB_KINDS)})", _ONLY_THESE))),
    AfterValidator(_check_kinds),
]


class JobResources(Resources):
    """What the build container of a job asks for, and may use."""

    requests: _JobQuantities = Field(default_factory=dict)
    """What is set aside for it, such as cpu: 500m."""
    limits: _JobQuantities = Field(default_factory=dict)
    """What it may use at most, such as memory: 2Gi."""


class KubernetesExecutor(ApiModel):
    """Jobs in pods of their own, in the pool's namespace."""

    image: ImageName
    """Image of jobs that name none."""
    helper_image: ImageName | None = None
    """Image of the helper container, which fetches sources and keeps artifacts; by default the one that belongs to the
    runner."""
    pull_policy: PullPolicy | None = None
    """Always, IfNotPresent or Never, for job pods; by default the cluster's."""
    image_pull_secrets: PullSecrets = Field(default_factory=list)
    """Pull Secrets of job pods, in the pool's namespace."""
    service_account_name: ServiceAccountName | None = None
    """Service account of job pods; they get no token of it unless settings.automount_service_account_token is true."""
    resources: JobResources = JobResources()
    """What the build container of a job asks for, and may use: cpu, memory and ephemeral-storage. A ResourceQuota is
    looked at for this, too, before a runner pod is created."""
    node_selector: Annotated[dict[str, str], Field(max_length=32)] = Field(default_factory=dict)
    """Labels of the nodes that job pods may run on."""
    start_seconds: int = Field(default=180, ge=10, le=3600)
    """How long a job's pod may take to start; then the job fails."""
    settings: KubernetesSettings = Field(default_factory=dict)
    """Further settings of [runners.kubernetes], by GitLab's names; none that a field says, or that stands elsewhere."""

    @model_validator(mode="after")
    def _say_once(self) -> Self:
        """Refuse a setting that a field says, too: one of them would do nothing."""
        own = "spec.executor.kubernetes"
        given: dict[str, tuple[object, str]] = {
            "helper_image": (self.helper_image, f"{own}.helperImage"),
            "pull_policy": (self.pull_policy, f"{own}.pullPolicy"),
            "image_pull_secrets": (self.image_pull_secrets, f"{own}.imagePullSecrets"),
            "service_account": (self.service_account_name, f"{own}.serviceAccountName"),
            "node_selector": (self.node_selector, f"{own}.nodeSelector"),
        }
        for suffix, quantities in (("request", self.resources.requests), ("limit", self.resources.limits)):
            for kind in KINDS:
                name = kind.replace("_", "-")
                given[f"{kind}_{suffix}"] = quantities.get(name), f"{own}.resources.{suffix}s.{name}"
        refuse_both(self.settings, given)
        return self


class DockerExecutor(ApiModel):
    """Jobs in containers of a Docker daemon of their own, beside the runner in its pod; the daemon is privileged."""

    image: ImageName
    """Image of jobs that name none."""
    daemon_image: ImageName = "docker.io/library/docker:28-dind"
    """Image of the Docker daemon."""
    daemon_resources: Resources = Resources()
    """What the daemon, with the job's containers in it, asks for, and may use."""
    settings: DockerSettings = Field(default_factory=dict)
    """Further settings of [runners.docker], by GitLab's names."""


class SshExecutor(ApiModel):
    """Jobs on another machine, by SSH; gitlab-runner has to be installed there for artifacts and caches."""

    host: HostOrAddress
    """The machine."""
    port: Port = 22
    """Its SSH port."""
    user: str = Field(pattern=r"^[a-z_][a-z0-9_-]*\$?$", max_length=32)
    """The account that jobs run under."""
    identity_secret: SecretReference
    """The private key to log in with, without a passphrase."""
    host_key: HostKey
    """The machine's public host key; nothing else is trusted."""


class CustomExecutor(ApiModel):
    """Jobs by programs of the pod's image or its volumes, as in GitLab's Custom executor."""

    run: Program
    """Path of the program that runs a stage of a job (run_exec)."""
    run_arguments: Arguments = Field(default_factory=list)
    """Arguments before the ones that GitLab's runner adds."""
    config: Program | None = None
    """Path of the program that tells settings of the job (config_exec)."""
    prepare: Program | None = None
    """Path of the program that makes the environment (prepare_exec)."""
    cleanup: Program | None = None
    """Path of the program that takes it away (cleanup_exec)."""
    settings: CustomSettings = Field(default_factory=dict)
    """Further settings of [runners.custom], by GitLab's names."""


class ClusterReference(ApiModel):
    """A ClusterBuild in the namespace of the RunnerPool."""

    name: ClusterBuildName
    """Name of the ClusterBuild."""


class SlurmExecutor(ApiModel):
    """Jobs under sbatch on a Slurm cluster."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.clusterRef) != has(self.host)", "exactly one of clusterRef and host is required"),
            ("has(self.host) == has(self.hostKey)", "hostKey is required with host, and with it alone"),
        )
    )

    cluster_ref: ClusterReference | None = None
    """The ClusterBuild that made the cluster; jobs are submitted on its management node once it is Ready."""
    host: HostOrAddress | None = None
    """A host of another cluster on which sbatch may be called."""
    port: Port = 22
    """Its SSH port."""
    host_key: HostKey | None = None
    """Its public host key; nothing else is trusted. That of a ClusterBuild is known."""
    user: str = Field(pattern=r"^[a-z_][a-z0-9_-]*\$?$", max_length=32)
    """The account that jobs run under; it has to be on all nodes."""
    identity_secret: SecretReference
    """The private key that the account logs in with, without a passphrase."""
    builds_directory: Directory
    """A directory, on storage that all nodes share, that the account may write to; each job has one of its own in it
    while it runs."""
    options: list[SbatchOption] = Field(default_factory=list, max_length=32, json_schema_extra=ATOMIC_LIST)
    """Options of sbatch for every job, such as --partition=gpu; none that Bessemer depends on, such as --output. A
    job's variable SCHEDULER_PARAMETERS adds to them."""


class VirtualBoxExecutor(ApiModel):
    """Jobs in virtual machines of VirtualBox: for bessemer plan only, as a pod has no hypervisor."""

    base_name: str = Field(min_length=1, max_length=255)
    """Name of the virtual machine that jobs' machines are cloned from."""
    user: str = Field(pattern=r"^[a-z_][a-z0-9_-]*\$?$", max_length=32)
    """Account in the virtual machine."""
    settings: VirtualBoxSettings = Field(default_factory=dict)
    """Further settings of [runners.virtualbox], by GitLab's names."""


_FIELDS = {
    ExecutorType.KUBERNETES: "kubernetes",
    ExecutorType.DOCKER: "docker",
    ExecutorType.SSH: "ssh",
    ExecutorType.CUSTOM: "custom",
    ExecutorType.SLURM: "slurm",
    ExecutorType.VIRTUALBOX: "virtualbox",
}


NO_HYPERVISOR = (
    "VirtualBox needs a hypervisor on the host, which a pod does not have: run gitlab-runner on that host "
    "with the configuration that bessemer plan prints, or take another type"
)
"""Why the API server refuses a pool with that type."""


class Executor(ApiModel):
    """How the runner runs a job."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            *(
                (
                    f"(self.type == '{type_}') == has(self.{name})",
                    f"{name} is required for type {type_}, and for it alone",
                )
                for type_, name in _FIELDS.items()
            ),
            ("self.type != 'VirtualBox'", NO_HYPERVISOR),
        )
    )

    type: ExecutorType = ExecutorType.SHELL
    """Shell: in the runner pod itself. Kubernetes: in a pod for each job. Docker: in containers beside the runner. SSH:
    on another machine. Custom: by programs of your own. Slurm: under sbatch on a cluster. VirtualBox: refused, as a pod
    has no hypervisor."""
    kubernetes: KubernetesExecutor | None = None
    """For type Kubernetes."""
    docker: DockerExecutor | None = None
    """For type Docker."""
    ssh: SshExecutor | None = None
    """For type SSH."""
    custom: CustomExecutor | None = None
    """For type Custom."""
    slurm: SlurmExecutor | None = None
    """For type Slurm."""
    virtualbox: VirtualBoxExecutor | None = None
    """For type VirtualBox."""
