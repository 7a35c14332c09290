"""Connect to Kubernetes: from inside a pod by its service account, else by the kubeconfig from the usual places."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from bessemer.errors import Invalid

CONNECTIONS = 20
"""Connections at once; more only costs memory."""


@contextlib.asynccontextmanager
async def connect(context: str | None = None, connections: int = CONNECTIONS) -> AsyncIterator[ApiClient]:
    """Give a client of the API server; raises Invalid where no way to one is configured."""
    configuration = Configuration()
    configuration.connection_pool_maxsize = connections
    try:
        if context is None and "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # it has no types
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]  # it has no types
                context=context, client_configuration=configuration, persist_config=False
            )
    except (config.ConfigException, yaml.YAMLError) as error:
        raise Invalid("NoCluster", f"no way to a Kubernetes cluster is configured: {error}") from error
    async with ApiClient(configuration) as api:
        yield api
