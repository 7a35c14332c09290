"""GitLab's own way to run jobs on Kubernetes: one gitlab-runner with the executor Kubernetes, as its docs have it.

Source: https://docs.gitlab.com/runner/executors/kubernetes/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tomli_w

from local_kubernetes.kubectl import Resource
from tests.bench.runners.observations import MADE_FOR_ANNOTATION
from tests.bench.runners.scene import Scene
from tests.support.gitlab_pod import build_url
from tests.support.runner_image import build_helper_image

NAME = "manager"
START_SECONDS = 60
PROJECT_NUMBER = 1
"""Of the scene's only project."""
RULES = [
    {"apiGroups": [""], "resources": ["pods", "pods/attach", "pods/exec", "pods/log"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["secrets", "configmaps", "serviceaccounts", "events"], "verbs": ["*"]},
]

DEFAULT: dict[str, Any] = {"global": {"concurrent": 1, "check_interval": 0}, "runner": {}, "kubernetes": {}}
"""What ``gitlab-runner register`` writes: check_interval 0 means 3 s; poll_interval is 3 s, request_concurrency 1."""
TUNED: dict[str, Any] = {
    "global": {"concurrent": 20, "check_interval": 1},
    "runner": {
        "request_concurrency": 4,
        "feature_flags": {"FF_USE_ADAPTIVE_REQUEST_CONCURRENCY": False},
    },
    "kubernetes": {"poll_interval": 1, "cpu_request": "100m", "helper_cpu_request": "50m"},
}
"""What its docs advise against delays; source:
https://docs.gitlab.com/runner/configuration/advanced-configuration/#long-polling"""


@contextmanager
def run_manager(scene: Scene, tag: str, settings: dict[str, Any]) -> Iterator[None]:
    """Run a manager for jobs with a tag as long as the context lasts."""
    runners = scene.runners
    helper = build_helper_image()
    scene.cluster.load_image(helper.archive)
    fields = {"runner_type": "project_type", "project_id": PROJECT_NUMBER, "tag_list": [tag], "run_untagged": False}
    runner = scene.gitlab.create_runner(runners.access_token, **fields)
    config = build_config(runners.kubectl.namespace, runner["token"], helper.name, settings)
    kubectl = runners.kubectl
    kubectl.apply(*build_objects(kubectl.namespace, runners.image, config))

    def polls() -> bool:
        return any(one["managers"] for one in scene.gitlab.runners() if one["id"] == runner["id"])

    try:
        kubectl.wait_for("the manager asks for jobs", polls, START_SECONDS, runners.explain)
        yield
    finally:
        kubectl.run("delete", "pod", NAME, "--ignore-not-found", timeout=120)


def build_config(namespace: str, token: str, image: str, settings: dict[str, Any]) -> str:
    """Return the text of config.toml."""
    kubernetes = {
        "namespace": namespace,
        "image": image,
        "helper_image": image,
        "pull_policy": "never",
        "pod_annotations": {MADE_FOR_ANNOTATION: "$CI_JOB_ID"},
        **settings["kubernetes"],
    }
    runner = {"name": NAME, "url": build_url(namespace), "token": token, "executor": "kubernetes", **settings["runner"]}
    return tomli_w.dumps({**settings["global"], "runners": [{**runner, "kubernetes": kubernetes}]})


def build_objects(namespace: str, image: str, config: str) -> list[Resource]:
    """Return the manager's pod with its rights and its configuration."""
    metadata = {"name": NAME}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": namespace}
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["bash", "-c", "cp /config/config.toml /tmp && exec gitlab-runner run -c /tmp/config.toml"],
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    }
    spec = {
        "serviceAccountName": NAME,
        "terminationGracePeriodSeconds": 30,
        "containers": [container],
        "volumes": [{"name": "config", "secret": {"secretName": NAME}}],
    }
    rbac = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": rbac, "kind": "Role", "metadata": metadata, "rules": RULES},
        {"apiVersion": rbac, "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject]},
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"config.toml": config}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
    ]
