"""The part of a RunnerPool's spec about executors: how a runner runs jobs.

Options of an executor that have no field go under ``settings``, with the names from GitLab's documentation:
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
    """How a runner runs jobs."""

    SHELL = "Shell"
    KUBERNETES = "Kubernetes"
    DOCKER = "Docker"
    SSH = "SSH"
    CUSTOM = "Custom"
    SLURM = "Slurm"
    VIRTUALBOX = "VirtualBox"


_JOB_KINDS = tuple(kind.replace("_", "-") for kind in KINDS)
_ONLY_THESE = (
    f"must be one of {', '.join(_JOB_KINDS)}; request others, such as nvidia.com/gpu, with settings.pod_spec, which "
    "needs FF_USE_ADVANCED_POD_SPEC_CONFIGURATION: true in spec.pod.environment"
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
    """Resource requests and limits of the build container of a job."""

    requests: _JobQuantities = Field(default_factory=dict)
    """Resource requests, such as cpu: 500m."""
    limits: _JobQuantities = Field(default_factory=dict)
    """Resource limits, such as memory: 2Gi."""


class KubernetesExecutor(ApiModel):
    """Runs each job in a separate pod, in the pool's namespace."""

    image: ImageName
    """Default image of jobs."""
    helper_image: ImageName | None = None
    """Image of the helper container, which fetches sources and transfers caches and artifacts. Defaults to the image
    that matches the runner's version."""
    pull_policy: PullPolicy | None = None
    """Image pull policy of job pods: Always, IfNotPresent or Never. Defaults to that of the cluster."""
    image_pull_secrets: PullSecrets = Field(default_factory=list)
    """Image pull Secrets of job pods, in the pool's namespace."""
    service_account_name: ServiceAccountName | None = None
    """ServiceAccount of job pods. Its token is mounted only if settings.automount_service_account_token is true."""
    resources: JobResources = JobResources()
    """Resource requests and limits of the build container of a job: cpu, memory and ephemeral-storage. Before a runner
    pod is created, a ResourceQuota is checked for these as well."""
    node_selector: Annotated[dict[str, str], Field(max_length=32)] = Field(default_factory=dict)
    """Labels that nodes must have for job pods to run on them."""
    start_seconds: int = Field(default=180, ge=10, le=3600)
    """Maximum number of seconds for a job pod to start; after that, the job fails."""
    settings: KubernetesSettings = Field(default_factory=dict)
    """Additional settings of [runners.kubernetes], with GitLab's names. Settings that have a field here, or belong to
    another section, are rejected."""

    @model_validator(mode="after")
    def _refuse_duplicates(self) -> Self:
        """Reject a setting that duplicates a field: one of the two would have no effect."""
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
    """Runs jobs in containers of a Docker daemon in the runner pod; the daemon is privileged."""

    image: ImageName
    """Default image of jobs."""
    daemon_image: ImageName = "docker.io/library/docker:28-dind"
    """Image of the Docker daemon."""
    daemon_resources: Resources = Resources()
    """Resource requests and limits of the daemon, which include the containers of the job."""
    settings: DockerSettings = Field(default_factory=dict)
    """Additional settings of [runners.docker], with GitLab's names."""


class SshExecutor(ApiModel):
    """Runs jobs on another machine over SSH. gitlab-runner must be installed there for artifacts and caches."""

    host: HostOrAddress
    """Host name or address of the machine."""
    port: Port = 22
    """TCP port of sshd."""
    user: str = Field(pattern=r"^[a-z_][a-z0-9_-]*\$?$", max_length=32)
    """The user that jobs run as."""
    identity_secret: SecretReference
    """The Secret with the private key to log in with, without a passphrase."""
    host_key: HostKey
    """Public host key of the machine; a connection with any other key is refused."""


class CustomExecutor(ApiModel):
    """Runs jobs with your own programs, as in GitLab's Custom executor; they are in the pod's image or volumes."""

    run: Program
    """Path of the program that runs one stage of a job (run_exec)."""
    run_arguments: Arguments = Field(default_factory=list)
    """Arguments of the program, before those that gitlab-runner adds."""
    config: Program | None = None
    """Path of the program that prints settings for the job (config_exec)."""
    prepare: Program | None = None
    """Path of the program that prepares the job's environment (prepare_exec)."""
    cleanup: Program | None = None
    """Path of the program that removes the job's environment (cleanup_exec)."""
    settings: CustomSettings = Field(default_factory=dict)
    """Additional settings of [runners.custom], with GitLab's names."""


class ClusterReference(ApiModel):
    """A ClusterBuild in the namespace of the RunnerPool."""

    name: ClusterBuildName
    """Name of the ClusterBuild."""


class SlurmExecutor(ApiModel):
    """Submits jobs with sbatch to a Slurm cluster."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.clusterRef) != has(self.host)", "exactly one of clusterRef and host is required"),
            ("has(self.host) == has(self.hostKey)", "hostKey is required with host, and must be absent otherwise"),
        )
    )

    cluster_ref: ClusterReference | None = None
    """The ClusterBuild of the cluster. Jobs are submitted on its management node once it is Ready."""
    host: HostOrAddress | None = None
    """Login host of a cluster that has no ClusterBuild, on which sbatch is available."""
    port: Port = 22
    """TCP port of sshd."""
    host_key: HostKey | None = None
    """Public host key of host; a connection with any other key is refused. With clusterRef, the key is known."""
    user: str = Field(pattern=r"^[a-z_][a-z0-9_-]*\$?$", max_length=32)
    """The user that jobs run as; it must exist on all nodes."""
    identity_secret: SecretReference
    """The Secret with the user's private key, without a passphrase."""
    builds_directory: Directory
    """A directory on storage that all nodes share, with write access for the user. While a job runs, it has a
    subdirectory there."""
    options: list[SbatchOption] = Field(default_factory=list, max_length=32, json_schema_extra=ATOMIC_LIST)
    """Options of sbatch for every job, such as --partition=gpu. Options that Bessemer depends on, such as --output, are
    rejected. A job can add options with the variable SCHEDULER_PARAMETERS."""


class VirtualBoxExecutor(ApiModel):
    """Runs jobs in VirtualBox virtual machines. Only for bessemer plan, as a pod has no hypervisor."""

    base_name: str = Field(min_length=1, max_length=255)
    """Name of the virtual machine that is cloned for each job."""
    user: str = Field(pattern=r"^[a-z_][a-z0-9_-]*\$?$", max_length=32)
    """User to log in to the virtual machine as."""
    settings: VirtualBoxSettings = Field(default_factory=dict)
    """Additional settings of [runners.virtualbox], with GitLab's names."""


_FIELDS = {
    ExecutorType.KUBERNETES: "kubernetes",
    ExecutorType.DOCKER: "docker",
    ExecutorType.SSH: "ssh",
    ExecutorType.CUSTOM: "custom",
    ExecutorType.SLURM: "slurm",
    ExecutorType.VIRTUALBOX: "virtualbox",
}


NO_HYPERVISOR = (
    "VirtualBox needs a hypervisor on the host, which a pod does not have: run gitlab-runner on such a host "
    "with the configuration that bessemer plan prints, or use another type"
)
"""The message with which the API server rejects a pool of that type."""


class Executor(ApiModel):
    """How the runner runs jobs."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            *(
                (
                    f"(self.type == '{type_}') == has(self.{name})",
                    f"{name} is required for type {type_}, and must be absent for other types",
                )
                for type_, name in _FIELDS.items()
            ),
            ("self.type != 'VirtualBox'", NO_HYPERVISOR),
        )
    )

    type: ExecutorType = ExecutorType.SHELL
    """Where jobs run. Shell: in the runner pod itself. Kubernetes: in a separate pod for each job. Docker: in
    containers in the runner pod. SSH: on another machine. Custom: with your own programs. Slurm: on a cluster, with
    sbatch. VirtualBox: rejected, as a pod has no hypervisor."""
    kubernetes: KubernetesExecutor | None = None
    """Settings for type Kubernetes."""
    docker: DockerExecutor | None = None
    """Settings for type Docker."""
    ssh: SshExecutor | None = None
    """Settings for type SSH."""
    custom: CustomExecutor | None = None
    """Settings for type Custom."""
    slurm: SlurmExecutor | None = None
    """Settings for type Slurm."""
    virtualbox: VirtualBoxExecutor | None = None
    """Settings for type VirtualBox."""
