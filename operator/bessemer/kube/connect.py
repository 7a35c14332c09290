"""Connect to Kubernetes: from inside a pod by its service account, else by a kubeconfig as kubectl finds it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigLoader, KubeConfigMerger

from bessemer.errors import Invalid

CONNECTIONS = 20
"""Connections at once; more only costs memory."""
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod is told its namespace.
Source: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/#directly-accessing-the-rest-api"""
_UNUSABLE = (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, AttributeError, KeyError)
"""What the library raises for a file that is missing, is not YAML, or holds anything else than it should."""


@contextlib.asynccontextmanager
async def connect(
    context: str | None = None, connections: int = CONNECTIONS, kubeconfig: str | None = None
) -> AsyncIterator[ApiClient]:
    """Yield a client of the API server; raises Invalid where no way to one is configured."""
    configuration = Configuration()
    configuration.connection_pool_maxsize = connections
    try:
        if _is_in_pod(context, kubeconfig):
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # it has no types
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]  # it has no types
                kubeconfig, context, configuration, persist_config=False
            )
        if "://" not in configuration.host:
            raise ValueError("the cluster has no URL as its server")
        client = ApiClient(configuration)  # reads the certificates
    except _UNUSABLE as error:
        where = "the pod's service account" if _is_in_pod(context, kubeconfig) else _name_kubeconfig(kubeconfig)
        raise Invalid("NoCluster", f"no way to a Kubernetes cluster is configured in {where}: {error}") from error
    async with client as api:
        yield api


def get_default_namespace(context: str | None, kubeconfig: str | None) -> str:
    """Return the namespace to work in where none is named: the pod's own, or that of the context.

    Raises Invalid where there is no such context.
    """
    if _is_in_pod(context, kubeconfig):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return OWN_NAMESPACE.read_text(encoding="ascii").strip() or "default"
        return "default"
    try:
        # Not list_kube_config_contexts, which wants a current context: GitLab's agent gives jobs a kubeconfig without.
        paths = kubeconfig or str(Path(KUBE_CONFIG_DEFAULT_LOCATION).expanduser())
        merged = KubeConfigMerger(paths).config  # type: ignore[no-untyped-call]  # it has no types
        loader = KubeConfigLoader(merged, active_context=context)  # type: ignore[no-untyped-call]  # as above
        return str(loader.current_context["context"].get("namespace") or "default")
    except _UNUSABLE as error:
        where = _name_kubeconfig(kubeconfig)
        raise Invalid("NoCluster", f"{where} has no context to take the namespace from: {error}") from error


def _name_kubeconfig(given: str | None) -> str:
    return given or os.environ.get("KUBECONFIG") or "~/.kube/config"


def _is_in_pod(context: str | None, kubeconfig: str | None) -> bool:
    told = context is not None or kubeconfig is not None or "KUBECONFIG" in os.environ
    return not told and "KUBERNETES_SERVICE_HOST" in os.environ
