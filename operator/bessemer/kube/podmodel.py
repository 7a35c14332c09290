"""What is read of a raw pod: each field is of its documented form, or absent, whatever stands there.

A pod's labels, annotations, termination messages and, with the rights to it, its status are written by others. So one
field that can't be read says nothing of the next, and reading never fails.
Source of the fields: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticUseDefault
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from bessemer.foreign import make_line, parse_int, parse_time

Line = Annotated[str, AfterValidator(make_line)]
Word = Annotated[str, AfterValidator(lambda text: text if re.fullmatch("[A-Za-z][A-Za-z0-9]{0,99}", text) else "")]
"""The format of reasons in Kubernetes; such a reason is copied into our status."""
Moment = Annotated[datetime, BeforeValidator(parse_time)]
Number = Annotated[int, BeforeValidator(lambda value: parse_int(value, least=-(2**63)))]


def _keep_objects(value: Any) -> list[Any]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _keep_texts(value: Any) -> dict[str, str]:
    return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}


Objects = BeforeValidator(_keep_objects)
Texts = Annotated[dict[str, str], BeforeValidator(_keep_texts)]


class _Lenient(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True, strict=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _pass_over(cls, value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        try:
            return read(value)
        except ValidationError:
            raise PydanticUseDefault from None


class Waiting(_Lenient):
    """A container that does not run yet."""

    reason: Word = ""
    message: Line = ""


class Running(_Lenient):
    """A container that runs."""

    started_at: Moment | None = None


class Terminated(_Lenient):
    """A container that has ended."""

    exit_code: Number | None = None
    reason: Word = ""
    message: str = ""
    """What the container has left at its end, as it is."""
    started_at: Moment | None = None
    finished_at: Moment | None = None


class ContainerState(_Lenient):
    """Exactly one of these, or none where nothing is known."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(_Lenient):
    """How a container is."""

    name: str = ""
    state: ContainerState = ContainerState()

    @property
    def has_started(self) -> bool:
        """Whether it runs, or has run."""
        return self.state.running is not None or self.state.terminated is not None


class PodCondition(_Lenient):
    """One aspect of a pod."""

    type: str = ""
    status: str = ""
    reason: Word = ""
    message: Line = ""
    last_transition_time: Moment | None = None


class PodStatus(_Lenient):
    """What has become of a pod."""

    phase: str = "Pending"
    reason: Word = ""
    message: Line = ""
    conditions: Annotated[tuple[PodCondition, ...], Objects] = Field(default=(), strict=False)
    init_container_statuses: Annotated[tuple[ContainerStatus, ...], Objects] = Field(default=(), strict=False)
    container_statuses: Annotated[tuple[ContainerStatus, ...], Objects] = Field(default=(), strict=False)

    def find_container(self, name: str) -> ContainerStatus | None:
        """Return what is known of a container of that name; None where nothing is."""
        return next((container for container in self.container_statuses if container.name == name), None)


class PodSpec(_Lenient):
    """What a pod was to be."""

    node_name: str = ""
    termination_grace_period_seconds: Number | None = None


class OwnerReference(_Lenient):
    """What a pod belongs to."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class PodMetadata(_Lenient):
    """What a pod is known by."""

    name: str = ""
    uid: str = ""
    resource_version: Annotated[int, BeforeValidator(parse_int)] = 0
    creation_timestamp: Moment | None = None
    deletion_timestamp: Moment | None = None
    """When its grace is over: Kubernetes adds that to when it was told to go."""
    deleting: Annotated[bool, BeforeValidator(lambda value: value is not None)] = Field(
        default=False, alias="deletionTimestamp"
    )
    """Whether it was told to go."""
    deletion_grace_period_seconds: Number | None = None
    labels: Texts = Field(default_factory=dict)
    annotations: Texts = Field(default_factory=dict)
    finalizers: tuple[str, ...] = Field(default=(), strict=False)
    owner_references: Annotated[tuple[OwnerReference, ...], Objects] = Field(default=(), strict=False)

    @property
    def controller(self) -> OwnerReference:
        """What the pod was made by and for; without fields where there is none."""
        return next((owner for owner in self.owner_references if owner.controller), OwnerReference())


class Pod(_Lenient):
    """A pod."""

    metadata: PodMetadata = PodMetadata()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


def read_pod(raw: Mapping[str, Any]) -> Pod:
    """Return what can be read of a raw pod."""
    return Pod.model_validate(dict(raw))
