"""Builds with the rights that a job has in Kubernetes, as by GitLab's agent: the manifest is applied and followed.

The record is the name of the ClusterBuild. That it is built for this job is in its annotation for retries, with which a
job that is started again builds again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from bessemer.api.clusterbuild.names import KIND
from bessemer.api.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.api.group import API_VERSION
from bessemer.api.jobprogress import JobProgress, LogQuery
from bessemer.api.wellknown import ABORT_ANNOTATION, PAUSE_ANNOTATION, RETRY_ANNOTATION, TRIGGER_LABEL
from bessemer.cli.job.builder import Refused
from bessemer.cli.job.settings import CLUSTER, MANIFEST, KubeSettings
from bessemer.errors import BessemerError, Retry
from bessemer.foreign import make_line
from bessemer.kinds.buildtrigger.job.phaselog import find_place
from bessemer.kinds.buildtrigger.job.progress import describe_build
from bessemer.kinds.buildtrigger.job.readlog import read_log
from bessemer.kinds.clusterbuild.resource import CLUSTER_BUILDS
from bessemer.kinds.clusterbuild.view.watch import EXIT_READY, compute_exit_code
from bessemer.kube.client import KubernetesClient
from bessemer.kube.connect import connect, get_default_namespace
from bessemer.kube.protocol import Kubernetes, Object
from bessemer.manifest.fields import complete_commit
from bessemer.manifest.kubeyaml import read_documents

MOST_BYTES = 1 << 20
"""Of the file with the manifest."""


class KubeBuilder:
    """A namespace in which a job applies its manifest."""

    def __init__(self, kubernetes: Kubernetes, namespace: str, settings: KubeSettings) -> None:
        self._kubernetes, self._namespace, self._settings = kubernetes, namespace, settings
        self._order = f"job-{settings.job}"
        """Value of the annotation for retries, by which the build is known as this job's."""

    async def build(self) -> JobProgress:
        """Apply the manifest, and order what has failed to be tried again."""
        body = self._read_manifest()
        name = body["metadata"]["name"]
        with_order = {"metadata": {"annotations": self._build_order()}}
        try:
            found = await self._kubernetes.get_object(CLUSTER_BUILDS, self._namespace, name)
            trigger = ((found or {}).get("metadata", {}).get("labels") or {}).get(TRIGGER_LABEL)
            if trigger is not None:
                raise Refused("NameTaken", f"ClusterBuild {name} is that of BuildTrigger {make_line(str(trigger))}")
            await self._kubernetes.apply_object(CLUSTER_BUILDS, self._namespace, body, force=True)
            raw = await self._kubernetes.patch_object(CLUSTER_BUILDS, self._namespace, name, with_order)
        except BessemerError as error:
            raise _translate(error) from error
        return self._describe(name, raw)

    async def show(self, record: str, log: LogQuery | None = None) -> JobProgress:
        """Read how far the build is; the log after that, so that one of a phase that has ended is whole."""
        try:
            raw = await self._kubernetes.get_object(CLUSTER_BUILDS, self._namespace, record)
        except BessemerError as error:
            raise _translate(error) from error
        progress = self._describe(record, raw)
        place = find_place([parse_cluster_build(raw)], log) if raw is not None and log is not None else None
        if log is None or place is None:
            return progress
        lines = await read_log(self._kubernetes, self._namespace, log, place)
        return progress.model_copy(update={"log": lines})

    async def abort(self, record: str) -> JobProgress:
        """Abort the build, unless it is built for another job by now."""
        try:
            raw = await self._kubernetes.get_object(CLUSTER_BUILDS, self._namespace, record)
            if raw is not None and parse_cluster_build(raw).annotations.get(RETRY_ANNOTATION) == self._order:
                patch = {"metadata": {"annotations": {ABORT_ANNOTATION: "true"}}}
                raw = await self._kubernetes.patch_object(CLUSTER_BUILDS, self._namespace, record, patch)
        except BessemerError as error:
            raise _translate(error) from error
        return self._describe(record, raw)

    def _build_order(self) -> dict[str, str | None]:
        return {RETRY_ANNOTATION: self._order, ABORT_ANNOTATION: None, PAUSE_ANNOTATION: None}

    def _describe(self, name: str, raw: Object | None) -> JobProgress:
        if raw is None:
            text = f"ClusterBuild {name} was deleted"
            return JobProgress(record=name, state="Failed", reason="Deleted", message=text, final=True)
        build = parse_cluster_build(raw)
        code = compute_exit_code(build) if _is_current(build) else None
        states = {None: "Building", EXIT_READY: "Succeeded"}
        return JobProgress(
            record=name,
            commit=self._settings.commit,
            state=states.get(code, "Failed"),
            reason="Applied",
            message=name,
            final=code is not None,
            builds=[describe_build(build)],
        )

    def _read_manifest(self) -> Object:
        """Return the ClusterBuild of the file, as it is applied; raises Refused."""
        wanted = self._settings.wanted
        try:
            with Path(wanted.manifest).open("rb") as file:
                data = file.read(MOST_BYTES + 1)
            documents = read_documents(data.decode()) if len(data) <= MOST_BYTES else None
        except OSError as error:
            text = f"{MANIFEST}: {wanted.manifest} can't be read: {error.strerror}; does the job fetch the repository?"
            raise Refused("InvalidManifest", text) from None
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise Refused("InvalidManifest", f"{MANIFEST}: {wanted.manifest} is no YAML: {error}") from None
        found = [one for one in documents or [] if _is_build(one, wanted.cluster)]
        if len(found) != 1:
            which = f" of the name {wanted.cluster}" if wanted.cluster else f" ({CLUSTER} chooses one of several)"
            text = f"{MANIFEST}: {wanted.manifest} must have one {KIND}{which}, and at most {MOST_BYTES} bytes"
            raise Refused("InvalidManifest", text)
        metadata, spec = found[0]["metadata"], found[0]["spec"]
        namespace = metadata.get("namespace", self._namespace)
        if namespace != self._namespace:
            raise Refused("InvalidManifest", f"{wanted.manifest}: metadata.namespace is not {self._namespace}")
        spec = complete_commit(spec, self._settings.commit) if self._settings.commit else spec
        return {**found[0], "metadata": {**metadata, "namespace": namespace}, "spec": spec}


def _is_build(document: Any, name: str) -> bool:
    if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != (API_VERSION, KIND):
        return False
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(document.get("spec"), dict):
        return False
    return isinstance(metadata.get("name"), str) and name in ("", metadata["name"])


def _is_current(build: ClusterBuild) -> bool:
    """Return whether the status is about the latest order."""
    return build.annotations.get(RETRY_ANNOTATION) in (None, build.status.handled_retry)


def _translate(error: BessemerError) -> BessemerError:
    """Return the error for a job: one that may pass, or why it is refused."""
    if isinstance(error, Retry | Refused):
        return error
    return Refused(error.reason, f"{error.reason}: {error.message}")


@asynccontextmanager
async def open_kube_builder(settings: KubeSettings) -> AsyncIterator[KubeBuilder]:
    """Yield the builder of the kubeconfig's cluster; raises Invalid where there is none."""
    async with connect(settings.context) as api:
        namespace = settings.namespace or get_default_namespace(settings.context, None)
        yield KubeBuilder(KubernetesClient(api), namespace, settings)
