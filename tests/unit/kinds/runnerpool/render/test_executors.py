"""What each executor makes of config.toml, of the pool's Secret and of the runner pod."""

from __future__ import annotations

import json
import tomllib
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.api.runnerpool.executors import KubernetesExecutor
from bessemer.api.runnerpool.podspec import RunnerPodSpec
from bessemer.api.schema import compute_structural_schema
from bessemer.cli.rules import list_broken_rules
from bessemer.engine.settings import Settings
from bessemer.kinds.runnerpool.render.config import (
    add_site_proxy,
    build_config,
    build_proxies,
    build_secret_data,
    list_references,
)
from bessemer.kinds.runnerpool.render.manifest import build_runner_pod, compute_template
from bessemer.kinds.runnerpool.render.slurm_files import SlurmHost
from tests.unit.kinds.runnerpool.scenes import build_pool, build_spec

SETTINGS = Settings(image="operator", namespace="bessemer", identity="me", runner_image="runner")
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHk"
EXECUTORS: dict[str, dict[str, Any]] = {
    "Shell": {"type": "Shell"},
    "Kubernetes": {"type": "Kubernetes", "kubernetes": {"image": "debian"}},
    "Docker": {"type": "Docker", "docker": {"image": "debian"}},
    "SSH": {
        "type": "SSH",
        "ssh": {"host": "login", "user": "ci", "identitySecret": {"name": "key"}, "hostKey": HOST_KEY},
    },
    "Custom": {"type": "Custom", "custom": {"run": "/opt/run"}},
    "Slurm": {
        "type": "Slurm",
        "slurm": {
            "clusterRef": {"name": "oxygen"},
            "user": "ci",
            "identitySecret": {"name": "key"},
            "buildsDirectory": "/home/ci/builds/",
            "options": ["--partition=gpu", "--mem=4G"],
        },
    },
    "VirtualBox": {"type": "VirtualBox", "virtualbox": {"baseName": "lab", "user": "ci"}},
}


def render(secrets: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """Return the runner's part of config.toml."""
    text = build_config(build_pool(**spec), build_spec(**spec), "glrt-token", secrets or {})
    (runner,) = tomllib.loads(text)["runners"]
    return dict(runner)


def render_pod(**spec: Any) -> dict[str, Any]:
    return build_runner_pod(build_pool(**spec), build_spec(**spec), SETTINGS, 0, "t")


@pytest.mark.parametrize("name", EXECUTORS)
def test_the_executor_has_gitlabs_name_and_its_own_section(name: str) -> None:
    runner = render(executor=EXECUTORS[name])
    assert runner["executor"] == ("custom" if name == "Slurm" else name.lower())
    sections = {"shell": "builds_dir", "slurm": "custom"}
    assert sections.get(name.lower(), name.lower()) in runner


def test_a_kubernetes_job_pod_says_whose_it_is_and_gets_no_token() -> None:
    executor = {
        "type": "Kubernetes",
        "kubernetes": {
            "image": "debian:13",
            "helperImage": "helper",
            "pullPolicy": "IfNotPresent",
            "imagePullSecrets": [{"name": "pull"}],
            "serviceAccountName": "jobs",
            "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},
            "nodeSelector": {"gpu": "a100"},
            "settings": {"pod_labels": {"mine": "1"}, "privileged": True, "helper_cpu_limit": "500m"},
        },
    }
    assert render(executor=executor)["kubernetes"] == {
        "automount_service_account_token": False,
        "cleanup_grace_period_seconds": 0,
        "cpu_request": "1",
        "helper_cpu_limit": "500m",
        "helper_image": "helper",
        "image": "debian:13",
        "image_pull_secrets": ["pull"],
        "memory_limit": "2Gi",
        "namespace": "ci",
        "node_selector": {"gpu": "a100"},
        "pod_annotations": {"bessemer.dev/pool": "lab"},
        "pod_labels": {
            "mine": "1",
            "app.kubernetes.io/managed-by": "bessemer",
            "bessemer.dev/runner-uid": "@RUNNER_UID@",
            "bessemer.dev/job-of-pool": "lab",
        },
        "poll_timeout": 180,
        "privileged": True,
        "pull_policy": "if-not-present",
        "service_account": "jobs",
    }


WITH_NULLS = {"cap_add": None, "volumes": {"empty_dir": [{"name": "a", "medium": None}]}, "pod_labels": None}


def test_a_setting_that_is_null_is_left_out_at_any_depth() -> None:
    executor = {"type": "Kubernetes", "kubernetes": {"image": "debian", "settings": WITH_NULLS}}
    kubernetes = render(executor=executor)["kubernetes"]
    assert "cap_add" not in kubernetes
    assert kubernetes["volumes"] == {"empty_dir": [{"name": "a"}]}
    assert "bessemer.dev/runner-uid" in kubernetes["pod_labels"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"allowed_images": ["a", None]}, "allowed_images[1]: None can't stand in config.toml"),
        ({"pod_labels": "x"}, 'pod_labels: must be a map of strings, such as team: "7"'),
        ({"pod_annotations": {"team": 7}}, 'pod_annotations: must be a map of strings, such as team: "7"'),
        ({"volumes": ["a"]}, "volumes: must map volume types, such as pvc, to lists of volumes"),
        ({"volumes": {"pvc": "a"}}, "volumes.pvc: must be a list of volumes, each with name and mount_path"),
        ({"volumes": {"pvc": ["a"]}}, "volumes.pvc: must be a list of volumes, each with name and mount_path"),
        ({"cpu_request": 1}, 'cpu_request: must be a quantity in quotes, such as "500m" or "2Gi"'),
        ({"helper_memory_limit": "much"}, 'helper_memory_limit: must be a quantity in quotes, such as "500m" or "2Gi"'),
        (
            {"pod_labels": {"bessemer.dev/runner-uid": "x"}},
            "pod_labels: bessemer.dev/runner-uid is reserved for Bessemer",
        ),
        ({"services": "postgres"}, "services: must be a list of services, each with a name"),
        ({"services": [7]}, "services: must be a list of services, each with a name"),
        ({"services": [{"alias": "db"}]}, "services: must be a list of services, each with a name"),
        ({"priority_class_name": 7}, "priority_class_name: must be the name of a PriorityClass"),
    ],
)
def test_a_setting_that_can_not_be_is_named(settings: dict[str, Any], said: str) -> None:
    pool = build_pool(executor={"type": "Kubernetes", "kubernetes": {"image": "debian", "settings": settings}})
    assert (pool.spec, pool.spec_error) == (None, f"spec.executor.kubernetes.settings: {said}")


OTHER_CLUSTER = "can't be set: jobs run in the cluster of the pool"
SMALL = "names of settings consist of lower-case letters, digits, hyphens and underscores"


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("Kubernetes", "host", OTHER_CLUSTER),
        ("Kubernetes", "bearer_token", OTHER_CLUSTER),
        ("Kubernetes", "namespace_per_job", "can't be set: jobs run in the namespace of the pool"),
        ("Kubernetes", "image", "is spec.executor.kubernetes.image, and not here"),
        ("Kubernetes", "Namespace", SMALL),  # which gitlab-runner reads as namespace
        ("Kubernetes", "output_limit", "stands in [[runners]], and not here"),
        ("Kubernetes", "clone_url", "stands in [[runners]], and not here"),
        ("Kubernetes", "pre_get_sources_script", "stands in [[runners]], and not here"),
        ("Kubernetes", "concurrent", "stands at the top of config.toml: spec.max, and not here"),
        ("Docker", "host", "can't be set: jobs use the Docker daemon in the runner pod"),
        ("Docker", "environment", "stands in [[runners]]: spec.pod.environment, and not here"),
        ("Docker", "HOST", SMALL),
        ("Custom", "run_exec", "is spec.executor.custom.run, and not here"),
        ("Custom", "builds_dir", "stands in [[runners]], and not here"),
        ("VirtualBox", "base_name", "is spec.executor.virtualbox.baseName, and not here"),
    ],
)
def test_a_setting_that_bessemer_owns_or_that_belongs_elsewhere_is_refused(name: str, setting: str, said: str) -> None:
    section = name.lower()
    executor = EXECUTORS[name] | {section: EXECUTORS[name][section] | {"settings": {setting: "x"}}}
    assert build_pool(executor=executor).spec_error == f"spec.executor.{section}.settings: {setting}: {said}"


@pytest.mark.parametrize("name", ["Kubernetes", "Docker", "Custom", "VirtualBox"])
def test_no_setting_replaces_or_is_replaced_by_what_is_set_for_the_pool(name: str) -> None:
    section = name.lower()
    rendered = render(executor=EXECUTORS[name], cache={"volume": {"claimName": "ci-cache"}})
    adds_to = {"pod_labels", "pod_annotations", "volumes"}
    changes = {"automount_service_account_token", "cleanup_grace_period_seconds"}  # our default, and documented
    for setting in (set(rendered) | set(rendered[section])) - adds_to - changes:
        executor = EXECUTORS[name] | {section: EXECUTORS[name][section] | {"settings": {setting: "x"}}}
        assert build_pool(executor=executor).spec is None, setting


@pytest.mark.parametrize(
    ("field", "setting"),
    [
        ({"helperImage": "helper"}, {"helper_image": "mine"}),
        ({"pullPolicy": "Never"}, {"pull_policy": ["always"]}),
        ({"imagePullSecrets": [{"name": "a"}]}, {"image_pull_secrets": ["b"]}),
        ({"serviceAccountName": "a"}, {"service_account": "b"}),
        ({"nodeSelector": {"a": "b"}}, {"node_selector": {"c": "d"}}),
        ({"resources": {"limits": {"ephemeral-storage": "1Gi"}}}, {"ephemeral_storage_limit": "2Gi"}),
    ],
)
def test_what_a_field_and_a_setting_both_say_is_refused_and_either_alone_is_taken(
    field: dict[str, Any], setting: dict[str, Any]
) -> None:
    def build(**fields: Any) -> str:
        return build_pool(executor={"type": "Kubernetes", "kubernetes": {"image": "debian", **fields}}).spec_error

    assert build(**field) == build(settings=setting) == ""
    assert "conflicts with" in build(**field, settings=setting)


def test_what_gitlabs_runner_can_not_ask_for_is_refused_at_apply_saying_how_else() -> None:
    for kind in ("requests", "limits"):
        executor = {"image": "debian", "resources": {kind: {"cpu": "1", "nvidia.com/gpu": "1"}}}
        (said,) = list_broken_rules(executor, compute_structural_schema(KubernetesExecutor), "kubernetes")
        assert said.startswith(
            f"kubernetes.resources.{kind}: must be one of cpu, memory, ephemeral-storage; request others, such as"
        )
        pool = build_pool(executor={"type": "Kubernetes", "kubernetes": executor})
        assert pool.spec_error == f"spec.executor.{said}"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
NAMES = st.sampled_from(["pod_labels", "pod_annotations", "volumes", "image"]) | st.text()


@given(st.dictionaries(NAMES, ANYTHING), st.sampled_from(["Kubernetes", "Docker", "Custom", "VirtualBox"]))
def test_whatever_settings_are_they_are_refused_or_stand_in_the_configuration(
    settings: dict[str, Any], name: str
) -> None:
    executor = EXECUTORS[name]
    executor = executor | {name.lower(): executor[name.lower()] | {"settings": settings}}
    fields = {"executor": executor, "cache": {"volume": {"claimName": "ci-cache"}}}
    if build_pool(**fields).spec is not None:
        assert render(**fields)["executor"] == name.lower()


@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_names_of_bessemers_own_are_refused_by_the_crd_and_by_the_pool(field: str) -> None:
    given = {field: {"team": "hpc", "bessemer.dev/job": "nightly"}}
    said = "names that begin with bessemer.dev/ are reserved for Bessemer"
    assert build_pool(pod=given).spec_error == f"spec.pod.{field}: bessemer.dev/job: {said}"
    schema = compute_structural_schema(RunnerPodSpec)
    assert list_broken_rules(given, schema, "spec.pod") == [f"spec.pod.{field}: {said}"]
    assert list_broken_rules({field: {"team": "hpc", "my.bessemer.dev/job": "x"}}, schema, "spec.pod") == []


def test_only_runners_that_create_pods_have_an_account() -> None:
    accounts = {}
    for name, executor in EXECUTORS.items():
        spec = render_pod(executor=executor)["spec"]
        accounts[name] = (spec["automountServiceAccountToken"], spec.get("serviceAccountName"))
    assert accounts.pop("Kubernetes") == (True, "lab-runner")
    assert set(accounts.values()) == {(False, None)}


def test_pull_secrets_are_the_pools_own_or_else_those_of_the_chart() -> None:
    settings = replace(SETTINGS, runner_pull_secrets="registry,mirror")

    def pull_secrets(**pod: Any) -> Any:
        pool = build_pool(pod=pod)
        assert pool.spec is not None
        return build_runner_pod(pool, pool.spec, settings, 0, "t")["spec"].get("imagePullSecrets")

    assert pull_secrets() == [{"name": "registry"}, {"name": "mirror"}]
    assert pull_secrets(imagePullSecrets=[{"name": "own"}]) == [{"name": "own"}]
    assert "imagePullSecrets" not in render_pod()["spec"]


def test_a_docker_daemon_of_its_own_is_beside_the_runner_and_it_alone_is_privileged() -> None:
    pod = render_pod(executor=EXECUTORS["Docker"])["spec"]
    _, daemon = pod["initContainers"]
    assert (daemon["restartPolicy"], daemon["securityContext"]["privileged"]) == ("Always", True)
    (runner,) = pod["containers"]
    assert runner["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    socket = render(executor=EXECUTORS["Docker"])["docker"]["host"].removeprefix("unix://")
    shared = [mount["mountPath"] for mount in runner["volumeMounts"] if mount["name"] == "docker"]
    assert socket.startswith(f"{shared[0]}/")
    assert f"--host=unix://{socket}" in daemon["args"]


def test_ssh_trusts_the_given_host_key_alone_and_its_key_is_a_file_of_the_runner() -> None:
    spec = {"executor": EXECUTORS["SSH"]}
    ssh = render(**spec)["ssh"]
    assert ssh["disable_strict_host_key_checking"] is False
    data = build_secret_data(build_pool(**spec), build_spec(**spec), "glrt", {"ssh-identity": "KEY"})
    assert data["ssh-identity"] == "KEY\n"
    assert data["ssh-known-hosts"] == f"login {HOST_KEY}\n"
    assert "KEY" not in json.dumps(render_pod(**spec))


_BODY = b64encode(bytes(range(150))).decode()
_LINES = [_BODY[begin : begin + 70] for begin in range(0, len(_BODY), 70)]
OPENSSH_KEY = "\n".join(("-----BEGIN OPENSSH PRIVATE KEY-----", *_LINES, "-----END OPENSSH PRIVATE KEY-----", ""))


@settings(deadline=None)
@given(
    st.sampled_from(["\n", "\r\n", "\r", " ", " \n", "\n  ", "\n\n"]),
    st.sampled_from(["", "\n", "\r\n", "\n\n", " "]),
    st.sampled_from(["", "\ufeff", "\n", "  "]),
    st.sampled_from(["SSH", "Slurm"]),
)
def test_a_private_key_is_written_as_openssh_reads_it_however_it_was_pasted(
    between: str, end: str, begin: str, kind: str
) -> None:
    spec, name = {"executor": EXECUTORS[kind]}, f"{kind.lower()}-identity"
    pasted = begin + OPENSSH_KEY.rstrip("\n").replace("\n", between) + end
    host = SlurmHost("10.77.0.5", 2222, HOST_KEY)
    data = build_secret_data(build_pool(**spec), build_spec(**spec), "glrt", {name: pasted}, host)
    assert data[name] == OPENSSH_KEY


def test_for_slurm_the_runner_has_its_programs_and_a_way_to_the_cluster_that_trusts_one_key() -> None:
    spec = {"executor": EXECUTORS["Slurm"]}
    host = SlurmHost("10.77.0.5", 2222, HOST_KEY)
    files = build_secret_data(build_pool(**spec), build_spec(**spec), "glrt", {"slurm-identity": "KEY"}, host)
    assert files["slurm-settings"] == "BUILDS=/home/ci/builds\nOWNER=11111111\nOPTIONS=(--partition=gpu --mem=4G)\n"
    assert files["slurm-known-hosts"] == f"cluster {HOST_KEY}\n"
    options = dict(line.split(" ", 1) for line in files["slurm-ssh-config"].splitlines())
    assert (options["HostName"], options["Port"], options["User"]) == ("10.77.0.5", "2222", "ci")
    assert (options["StrictHostKeyChecking"], options["HostKeyAlias"]) == ("yes", "cluster")
    (container,) = render_pod(**spec)["spec"]["containers"]
    assert {"name": "builds", "mountPath": "/home/ci/builds/"} in container["volumeMounts"]
    assert set(build_spec(**spec).executor.model_dump(exclude_none=True)) == {"type", "slurm"}


def test_a_pod_mounts_the_files_of_the_secret_and_not_the_record_of_the_token() -> None:
    (config, *_) = render_pod()["spec"]["volumes"]
    assert [item["key"] for item in config["secret"]["items"]] == ["config.toml", "entrypoint.sh"]


def test_caches_lie_in_a_bucket_with_the_keys_from_secrets() -> None:
    s3 = {
        "server": "minio.storage.svc:9000",
        "bucket": "ci-cache",
        "insecure": True,
        "accessKeySecret": {"name": "s3", "key": "access"},
        "secretKeySecret": {"name": "s3", "key": "secret"},
        "path": "lab",
    }
    assert {key: reference.key for key, (reference, _) in list_references(build_spec(cache={"s3": s3})).items()} == {
        "s3-access-key": "access",
        "s3-secret-key": "secret",
    }
    secrets = {"s3-access-key": "A", "s3-secret-key": "S"}
    assert render(secrets, cache={"s3": s3})["cache"] == {
        "Type": "s3",
        "Shared": True,
        "Path": "lab",
        "s3": {
            "ServerAddress": "minio.storage.svc:9000",
            "BucketName": "ci-cache",
            "Insecure": True,
            "AuthenticationType": "access-key",
            "AccessKey": "A",
            "SecretKey": "S",
        },
    }
    data = build_secret_data(build_pool(), build_spec(cache={"s3": s3}), "glrt", secrets)
    assert sorted(data) == ["config.toml", "entrypoint.sh"]


def test_caches_lie_on_a_volume_of_the_pod_that_runs_the_job() -> None:
    cache = {"volume": {"claimName": "ci-cache"}}
    pod = render_pod(cache=cache)["spec"]
    assert {"name": "cache", "persistentVolumeClaim": {"claimName": "ci-cache"}} in pod["volumes"]
    assert {"name": "cache", "mountPath": "/cache"} in pod["containers"][0]["volumeMounts"]
    assert render(cache=cache)["cache_dir"] == "/cache"
    runner = render(cache=cache, executor=EXECUTORS["Kubernetes"])
    assert runner["kubernetes"]["volumes"]["pvc"] == [{"name": "ci-cache", "mount_path": "/cache"}]
    assert all(volume["name"] != "cache" for volume in render_pod(executor=EXECUTORS["Kubernetes"])["spec"]["volumes"])


def test_runner_and_jobs_use_the_proxy() -> None:
    proxy = {"https": "http://proxy:3128", "none": ["10.0.0.0/8", ".svc"]}
    wanted = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.0/8,.svc"}
    (container,) = render_pod(proxy=proxy)["spec"]["containers"]
    assert wanted.items() <= {item["name"]: item.get("value") for item in container["env"]}.items()
    assert {f"{name}={value}" for name, value in wanted.items()} <= set(render(proxy=proxy)["environment"])


def test_a_pool_without_a_proxy_of_its_own_uses_the_sites() -> None:
    site = replace(SETTINGS, http_proxy="http://site:3128", no_proxy=".svc,10.96.0.1")

    def get_proxy(**spec: Any) -> Any:
        found = add_site_proxy(build_pool(**spec), site).spec
        assert found is not None
        return build_proxies(found.proxy)

    assert get_proxy()["HTTP_PROXY"] == get_proxy()["http_proxy"] == "http://site:3128"
    assert get_proxy()["NO_PROXY"] == ".svc,10.96.0.1"
    assert get_proxy(proxy={"https": "http://own:3128"}) == {
        "HTTPS_PROXY": "http://own:3128",
        "https_proxy": "http://own:3128",
    }
    assert get_proxy(proxy={}) == {}
    assert add_site_proxy(build_pool(), SETTINGS) == build_pool()


def test_a_manager_runs_as_many_jobs_as_max() -> None:
    spec = {"mode": "Manager", "max": 7, "executor": EXECUTORS["Kubernetes"]}
    text = build_config(build_pool(**spec), build_spec(**spec), "glrt", {})
    config = tomllib.loads(text)
    assert (config["concurrent"], config["runners"][0]["limit"]) == (7, 7)


def test_a_change_of_the_executor_rolls_the_pods_out() -> None:
    first, second = ({"executor": EXECUTORS[name]} for name in ("Kubernetes", "Docker"))
    templates = {compute_template(build_pool(**spec), build_spec(**spec), SETTINGS, "1") for spec in (first, second)}
    assert len(templates) == 2


def test_a_docker_daemon_that_pulls_the_images_uses_the_proxy_too() -> None:
    spec = build_spec(executor=EXECUTORS["Docker"], proxy={"https": "http://proxy.example:3128"})
    pod = build_runner_pod(build_pool(), spec, SETTINGS, 0, "template")
    (daemon,) = [container for container in pod["spec"]["initContainers"] if container["name"] == "docker"]
    assert {"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"} in daemon["env"]
