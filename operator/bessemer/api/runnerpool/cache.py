"""The part of a RunnerPool's spec that says where jobs' caches lie, and by which proxy GitLab is reached."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from bessemer.api.base import ApiModel, cel
from bessemer.api.fields import ObjectName
from bessemer.api.references import SecretReference


class S3Authentication(StrEnum):
    """How the runner proves itself to the object store."""

    ACCESS_KEY = "AccessKey"
    IAM = "IAM"


class S3Cache(ApiModel):
    """Caches in a bucket of an object store with the S3 protocol."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "(self.authentication == 'AccessKey') == (has(self.accessKeySecret) && has(self.secretKeySecret))",
                "accessKeySecret and secretKeySecret are required for AccessKey, and for it alone",
            )
        )
    )

    server: str = Field(pattern=r"^[A-Za-z0-9.-]+(:[0-9]{1,5})?$", max_length=260)
    """Host, and port where it is not the usual one, such as s3.amazonaws.com or minio.storage.svc:9000."""
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$", min_length=3, max_length=63)
    """The bucket, which has to be there."""
    region: str | None = Field(default=None, pattern=r"^[a-z0-9-]+$", max_length=64)
    """Its region (BucketLocation)."""
    insecure: bool = False
    """Plain HTTP."""
    authentication: S3Authentication = S3Authentication.ACCESS_KEY
    """AccessKey, or IAM: what the runner pod's surroundings give."""
    access_key_secret: SecretReference | None = None
    """The access key."""
    secret_key_secret: SecretReference | None = None
    """The secret key."""
    path: str = Field(default="", pattern=r"^[A-Za-z0-9._/-]*$", max_length=256)
    """Prefix of all names in the bucket."""
    shared: bool = True
    """Whether pools with the same bucket share their caches."""


class VolumeCache(ApiModel):
    """Caches on a volume that all of the pool's pods mount."""

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim; ReadWriteMany where the pods run on more than one node."""


class Cache(ApiModel):
    """Where jobs' caches lie; without it, they last as long as their pod."""

    model_config = ConfigDict(
        json_schema_extra=cel(("has(self.s3) != has(self.volume)", "exactly one of s3 and volume is required"))
    )

    s3: S3Cache | None = None
    """In an object store."""
    volume: VolumeCache | None = None
    """On a volume."""


ProxyUrl = Annotated[str, Field(pattern=r"^https?://[^\s@]+$", max_length=1024)]
"""Without a password: it would stand in the pods' manifests."""


class Proxy(ApiModel):
    """The proxies that runners and jobs use."""

    http: ProxyUrl | None = None
    """For http:// (HTTP_PROXY); no user and password in it."""
    https: ProxyUrl | None = None
    """For https:// (HTTPS_PROXY); no user and password in it."""
    none: list[str] = Field(default_factory=list, max_length=64, json_schema_extra={"x-kubernetes-list-type": "set"})
    """Hosts, domains and networks that are reached directly (NO_PROXY)."""
