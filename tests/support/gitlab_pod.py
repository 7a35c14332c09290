"""The GitLab simulator as a pod: the operator's image has Python and the libraries, a ConfigMap brings the sources."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import gitlab_simulator
from gitlab_simulator.control import Send, Simulator
from local_kubernetes.kubectl import Kubectl
from local_kubernetes.protocol import Cluster

PORT = 8929
READY_SECONDS = 60
SOURCES = Path(gitlab_simulator.__file__).parent
SERVICE = "gitlab"


def install_simulator(cluster: Cluster, namespace: str, image: str, long_poll_seconds: int = 50) -> Simulator:
    """Run a simulator in a namespace, as the Service ``gitlab``; wait until it answers."""
    kubectl = Kubectl(cluster.kubectl, cluster.kubeconfig, namespace)
    sources = base64.b64encode(build_archive()).decode()
    labels = {"app": SERVICE}
    container = {
        "name": "gitlab",
        "image": image,
        "imagePullPolicy": "Never",
        "command": [
            *("python", "-m", "gitlab_simulator", "--empty", "--listen", f"0.0.0.0:{PORT}"),
            *("--external-url", build_url(namespace), "--long-poll-seconds", str(long_poll_seconds)),
        ],
        "env": [{"name": "PYTHONPATH", "value": "/simulator/sources.zip"}],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/-/simulator/requests", "port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "sources", "mountPath": "/simulator"}],
    }
    metadata = {"name": SERVICE, "labels": labels}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": {"sources.zip": sources}},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {
                "containers": [container],
                "terminationGracePeriodSeconds": 1,
                "volumes": [{"name": "sources", "configMap": {"name": SERVICE}}],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "publishNotReadyAddresses": True, "ports": [{"port": 80, "targetPort": PORT}]},
        },
    )
    kubectl.run("wait", f"pod/{SERVICE}", "--for=condition=Ready", f"--timeout={READY_SECONDS}s", timeout=90)
    return Simulator(send_through(kubectl))


def build_url(namespace: str) -> str:
    """Return the URL by which pods reach the simulator."""
    return f"http://{SERVICE}.{namespace}.svc"


def build_archive() -> bytes:
    """Return a zip archive with the simulator's sources, which Python imports from."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((*SOURCES.rglob("*.py"), *SOURCES.rglob("*.html"))):
            archive.write(path, f"{SOURCES.name}/{path.relative_to(SOURCES)}")
    return buffer.getvalue()


def send_through(kubectl: Kubectl) -> Send:
    """Return how requests get to the simulator: by the API server's proxy for Services."""
    base = f"/api/v1/namespaces/{kubectl.namespace}/services/http:{SERVICE}:80/proxy"
    verbs = {"GET": ("get",), "POST": ("create", "-f", "-"), "PUT": ("replace", "-f", "-"), "DELETE": ("delete",)}

    def send(method: str, path: str, body: Any) -> Any:
        verb, *options = verbs[method]
        given = None if body is None else json.dumps(body)
        text = kubectl.run(verb, "--raw", base + path, *options, given=given)
        return json.loads(text) if text.strip() else None

    return send
