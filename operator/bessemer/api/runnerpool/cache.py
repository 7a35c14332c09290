"""The part of a RunnerPool's spec about caches of jobs and HTTP proxies."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from bessemer.api.base import ApiModel, cel
from bessemer.api.fields import ObjectName
from bessemer.api.references import SecretReference


class S3Authentication(StrEnum):
    """How the runner authenticates to the object store."""

    ACCESS_KEY = "AccessKey"
    IAM = "IAM"


class S3Cache(ApiModel):
    """Caches in a bucket of an S3-compatible object store."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "(self.authentication == 'AccessKey') == (has(self.accessKeySecret) && has(self.secretKeySecret))",
                "accessKeySecret and secretKeySecret are required for AccessKey, and must be absent otherwise",
            )
        )
    )

    server: str = Field(pattern=r"^[A-Za-z0-9.-]+(:[0-9]{1,5})?$", max_length=260)
    """Host of the object store, with a port if it is not the default one, such as s3.amazonaws.com or
    minio.storage.svc:9000."""
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$", min_length=3, max_length=63)
    """Name of the bucket, which must exist."""
    region: str | None = Field(default=None, pattern=r"^[a-z0-9-]+$", max_length=64)
    """Region of the bucket (BucketLocation)."""
    insecure: bool = False
    """Whether to use HTTP without TLS."""
    authentication: S3Authentication = S3Authentication.ACCESS_KEY
    """AccessKey, or IAM for the credentials that the runner pod gets from its environment."""
    access_key_secret: SecretReference | None = None
    """The Secret with the access key."""
    secret_key_secret: SecretReference | None = None
    """The Secret with the secret key."""
    path: str = Field(default="", pattern=r"^[A-Za-z0-9._/-]*$", max_length=256)
    """Prefix of all object names in the bucket."""
    shared: bool = True
    """Whether pools that use the same bucket share their caches."""


class VolumeCache(ApiModel):
    """Caches on a volume that all pods of the pool mount."""

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim. Its access mode must be ReadWriteMany if pods run on more than one node."""


class Cache(ApiModel):
    """Where caches of jobs are stored; without it, a cache lasts only as long as its pod."""

    model_config = ConfigDict(
        json_schema_extra=cel(("has(self.s3) != has(self.volume)", "exactly one of s3 and volume is required"))
    )

    s3: S3Cache | None = None
    """Caches in an object store."""
    volume: VolumeCache | None = None
    """Caches on a volume."""


ProxyUrl = Annotated[str, Field(pattern=r"^https?://[^\s@]+$", max_length=1024)]
"""Without a password: it would be visible in the pods' manifests."""


class Proxy(ApiModel):
    """HTTP proxies for runners and jobs."""

    http: ProxyUrl | None = None
    """Proxy for http:// (HTTP_PROXY), without user and password."""
    https: ProxyUrl | None = None
    """Proxy for https:// (HTTPS_PROXY), without user and password."""
    none: list[str] = Field(default_factory=list, max_length=64, json_schema_extra={"x-kubernetes-list-type": "set"})
    """Hosts, domains and networks that are reached without a proxy (NO_PROXY)."""
