"""A command's connection to Kubernetes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator

from bessemer.cli.failures import explain_failure
from bessemer.cli.target import Target
from bessemer.console.session import Session
from bessemer.errors import BessemerError
from bessemer.kube.client import KubernetesClient
from bessemer.kube.connect import connect, get_default_namespace

logging.getLogger("kubernetes").addHandler(logging.NullHandler())  # else it writes beside our one line


@contextlib.asynccontextmanager
async def open_session(target: Target) -> AsyncIterator[Session]:
    """Connect as the options say, else by the usual kubeconfig, or from inside a pod by its service account.

    Raises Invalid, saying what to do, where there is no cluster, it gives no answer, or it refuses.
    """
    server = ""
    try:
        async with connect(target.context, kubeconfig=target.kubeconfig) as api:
            server = str(api.configuration.host)
            namespace = target.namespace or get_default_namespace(target.context, target.kubeconfig)
            yield Session(KubernetesClient(api), namespace)
    except BessemerError as error:
        raise explain_failure(error, server) from error
