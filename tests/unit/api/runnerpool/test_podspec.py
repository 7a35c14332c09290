"""Every field that says what pods look like is found in what is rendered; one that is added has to be covered here."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity
from pydantic import TypeAdapter, ValidationError

from bessemer.api.runnerpool.executors import KubernetesExecutor
from bessemer.api.runnerpool.podspec import Resources, RunnerPodSpec
from bessemer.api.runnerpool.podtypes import QUANTITY_PATTERN, RelativePath
from bessemer.api.schema import compute_structural_schema
from bessemer.api.wellknown import MANAGED_BY_LABEL
from bessemer.engine.settings import Settings
from bessemer.foreign import decode_cut
from bessemer.kinds.runnerpool.render.config import build_config
from bessemer.kinds.runnerpool.render.manifest import RUNNER_CONTAINER, build_runner_pod
from tests.support.checkout import ROOT
from tests.unit.kinds.runnerpool.render.test_executors import EXECUTORS
from tests.unit.kinds.runnerpool.scenes import build_pool, build_spec

SETTINGS = Settings(image="operator", namespace="bessemer", identity="me", runner_image="chart")
TOLERATION = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
TERM = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [TERM]}}}
VOLUME = {"name": "data", "hostPath": {"path": "/data"}}
MOUNT = {"name": "data", "mountPath": "/data", "readOnly": True}
RESOURCES = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi", "ephemeral-storage": "5Gi"}}

Rendered = tuple[dict[str, Any], dict[str, Any]]
"""The pod, and the runner's part of config.toml."""
Look = Callable[[dict[str, Any], dict[str, Any]], object]


_DIGITS = st.text("0123456789", min_size=1, max_size=6)
_SUFFIXES = st.sampled_from(["", *"numkMGTPE", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]) | st.builds(
    "{}{}{}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 99)
)
QUANTITIES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "+"]),
    _DIGITS | _DIGITS.map("{}.".format) | _DIGITS.map(".{}".format) | st.builds("{}.{}".format, _DIGITS, _DIGITS),
    _SUFFIXES,
)
"""By the grammar of https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/, not negative."""


def read_quantity(value: object) -> str:
    return Resources.model_validate({"requests": {"cpu": value}}).requests["cpu"]


@given(QUANTITIES)
def test_every_quantity_of_kubernetes_grammar_is_taken_as_it_is_written(text: str) -> None:
    assert read_quantity(text) == text
    assert parse_quantity(text) >= 0  # type: ignore[no-untyped-call]  # the official client lacks types


@given(st.text("0123456789.eE+-mkKMGTPinuZ ", max_size=8))
def test_what_is_taken_for_a_quantity_can_be_counted_and_is_not_negative(text: str) -> None:
    with suppress(ValidationError):
        amount = parse_quantity(read_quantity(text))  # type: ignore[no-untyped-call]  # the official client lacks types
        assert amount.is_finite()
        assert amount >= 0


@pytest.mark.parametrize(("value", "read"), [(2, "2"), (0, "0"), (2.0, "2"), (1e3, "1000"), (2147483648, "2147483648")])
def test_a_quantity_may_be_a_whole_number(value: float, read: str) -> None:
    assert read_quantity(value) == read


@pytest.mark.parametrize(
    "value", [-1, "-1", 0.5, True, None, "1Zi", "1K", "1ki", "", "Mi", "1\n", "1e100", "NaN", [], {}]
)
def test_what_is_no_quantity_is_refused_naming_the_field(value: object) -> None:
    with pytest.raises(ValidationError) as error:
        read_quantity(value)
    assert [detail["loc"] for detail in error.value.errors()] == [("requests", "cpu")]


def test_the_schema_of_a_quantity_takes_whole_numbers_and_strings_alike() -> None:
    quantities = compute_structural_schema(Resources)["properties"]["limits"]["additionalProperties"]
    assert quantities == {
        "x-kubernetes-int-or-string": True,
        "minimum": 0,
        "maxLength": 32,
        "pattern": QUANTITY_PATTERN,
    }


def test_the_chart_takes_the_same_quantities() -> None:
    schema = json.loads((ROOT / "helm" / "bessemer" / "values.schema.json").read_text())
    assert schema["definitions"]["quantity"] == {
        "type": ["string", "number"],
        "minimum": 0,
        "pattern": QUANTITY_PATTERN,
    }


def runner(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = (one for one in pod["spec"]["containers"] if one["name"] == RUNNER_CONTAINER)
    return dict(found)


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the runner and what prepares its files: both are of the runner's image."""
    return [runner(pod), pod["spec"]["initContainers"][0]]


def same(values: list[Any]) -> Any:
    assert all(value == values[0] for value in values), values
    return values[0]


POD_FIELDS: dict[str, tuple[Any, Look]] = {
    "image": ("registry.example/ci:1", lambda pod, _: same([one["image"] for one in containers(pod)])),
    "image_pull_policy": ("Never", lambda pod, _: same([one["imagePullPolicy"] for one in containers(pod)])),
    "image_pull_secrets": ([{"name": "registry"}], lambda pod, _: pod["spec"]["imagePullSecrets"]),
    "resources": (RESOURCES, lambda pod, _: runner(pod)["resources"]),
    "environment": (
        [{"name": "LICENSE", "value": "27000@host"}],
        lambda _, config: [
            dict(zip(("name", "value"), line.split("=", 1), strict=True)) for line in config["environment"]
        ],
    ),
    "node_selector": ({"disk": "nvme"}, lambda pod, _: pod["spec"]["nodeSelector"]),
    "tolerations": ([TOLERATION], lambda pod, _: pod["spec"]["tolerations"]),
    "affinity": (AFFINITY, lambda pod, _: pod["spec"]["affinity"]),
    "volumes": ([VOLUME], lambda pod, _: [one for one in pod["spec"]["volumes"] if one["name"] == "data"]),
    "volume_mounts": ([MOUNT], lambda pod, _: [one for one in runner(pod)["volumeMounts"] if one["name"] == "data"]),
    "priority_class_name": ("urgent", lambda pod, _: pod["spec"]["priorityClassName"]),
    "labels": ({"team": "a"}, lambda pod, _: pick(pod["metadata"]["labels"], "team")),
    "annotations": ({"note": "b"}, lambda pod, _: pick(pod["metadata"]["annotations"], "note")),
}
"""By the name of the field: a value, and where it is found again."""

JOB_POD_FIELDS: dict[str, tuple[Any, Look]] = {
    "image": ("debian:13", lambda _, config: config["kubernetes"]["image"]),
    "helper_image": ("helper:1", lambda _, config: config["kubernetes"]["helper_image"]),
    "pull_policy": (
        "IfNotPresent",
        lambda _, config: {"if-not-present": "IfNotPresent"}[config["kubernetes"]["pull_policy"]],
    ),
    "image_pull_secrets": (
        [{"name": "registry"}],
        lambda _, config: [{"name": name} for name in config["kubernetes"]["image_pull_secrets"]],
    ),
    "service_account_name": ("builder", lambda _, config: config["kubernetes"]["service_account"]),
    "resources": (
        RESOURCES,
        lambda _, config: {
            "requests": {kind: config["kubernetes"][f"{kind}_request"] for kind in ("cpu", "memory")},
            "limits": {
                "memory": config["kubernetes"]["memory_limit"],
                "ephemeral-storage": config["kubernetes"]["ephemeral_storage_limit"],
            },
        },
    ),
    "node_selector": ({"disk": "nvme"}, lambda _, config: config["kubernetes"]["node_selector"]),
    "start_seconds": (77, lambda _, config: config["kubernetes"]["poll_timeout"]),
    "settings": ({"poll_interval": 9}, lambda _, config: pick(config["kubernetes"], "poll_interval")),
}
"""The same for the pods of jobs, which GitLab's runner makes from its configuration."""


def pick(values: dict[str, Any], key: str) -> dict[str, Any]:
    return {key: values[key]}


def render(**spec: Any) -> Rendered:
    pool, parsed = build_pool(**spec), build_spec(**spec)
    pod = build_runner_pod(pool, parsed, SETTINGS, 0, "t")
    (config,) = tomllib.loads(build_config(pool, parsed, "glrt-token", {}))["runners"]
    return pod, config


def to_api(fields: dict[str, tuple[Any, Look]], model: type[RunnerPodSpec | KubernetesExecutor]) -> dict[str, Any]:
    """Return the fields' values by the names that they have in a manifest."""
    return {str(model.model_fields[name].alias or name): value for name, (value, _) in fields.items()}


def assert_not_default(fields: dict[str, tuple[Any, Look]], model: type[RunnerPodSpec | KubernetesExecutor]) -> None:
    """A value that is there without being given would prove nothing."""
    assert set(fields) == set(model.model_fields)
    defaults = {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}
    assert [name for name, (value, _) in fields.items() if value == defaults[name]] == []
    assert set(RESOURCES) == set(Resources.model_fields)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_every_field_of_a_runner_pod_is_in_the_pod_or_in_the_runners_configuration(executor: str) -> None:
    assert_not_default(POD_FIELDS, RunnerPodSpec)
    rendered = render(pod=to_api(POD_FIELDS, RunnerPodSpec), executor=EXECUTORS[executor])
    found = {name: look(*rendered) for name, (_, look) in POD_FIELDS.items()}
    assert found == {name: value for name, (value, _) in POD_FIELDS.items()}


def test_every_field_of_a_job_pod_is_in_the_runners_configuration() -> None:
    assert_not_default(JOB_POD_FIELDS, KubernetesExecutor)
    executor = {"type": "Kubernetes", "kubernetes": to_api(JOB_POD_FIELDS, KubernetesExecutor)}
    rendered = render(executor=executor)
    found = {name: look(*rendered) for name, (_, look) in JOB_POD_FIELDS.items()}
    assert found == {name: value for name, (value, _) in JOB_POD_FIELDS.items()}


def test_what_is_the_pools_own_can_not_be_taken_from_a_pod() -> None:
    """The label by which pods are found again, and the volumes that hold the runner's files; names of Bessemer's own
    are refused (test_executors.py).
    """
    plain, _ = render()
    spoilt, _ = render(
        pod={"labels": {MANAGED_BY_LABEL: "x"}, "volumes": [VOLUME], "volumeMounts": [MOUNT]},
    )
    assert spoilt["metadata"]["labels"] == plain["metadata"]["labels"]
    assert [one for one in spoilt["spec"]["volumes"] if one != VOLUME] == plain["spec"]["volumes"]
    assert [one for one in runner(spoilt)["volumeMounts"] if one != MOUNT] == runner(plain)["volumeMounts"]


VOLUMES = [
    {"hostPath": {"path": "/scratch", "type": "Directory"}},
    {"emptyDir": {}},
    {"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
    {"secret": {"secretName": "licence", "items": [{"key": "a", "path": "b/c", "mode": 256}], "optional": True}},
    {"configMap": {"name": "tools", "defaultMode": 365}},
    {"persistentVolumeClaim": {"claimName": "cache", "readOnly": True}},
    {"nfs": {"server": "10.0.0.1", "path": "/export"}},
    {"csi": {"driver": "csi.example.org", "volumeAttributes": {"a": "b"}, "nodePublishSecretRef": {"name": "s"}}},
    {
        "ephemeral": {
            "volumeClaimTemplate": {
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
            }
        }
    },
    {
        "projected": {
            "sources": [
                {"secret": {"name": "s"}},
                {"configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}},
                {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels['a']"}}]}},
                {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}},
            ]
        }
    },
    {
        "downwardAPI": {
            "items": [{"path": "m", "resourceFieldRef": {"resource": "limits.memory", "containerName": "runner"}}]
        }
    },
    {"image": {"reference": "registry.example/tools:1", "pullPolicy": "Always"}},
]
PODS = {
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 1,
                "podAffinityTerm": {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {},
                    "namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]},
                },
            }
        ]
    }
}


@pytest.mark.parametrize("source", VOLUMES, ids=lambda source: next(iter(source)))
def test_a_volume_reaches_the_pod_as_it_was_given(source: dict[str, Any]) -> None:
    volume = {"name": "data", **source}
    pod, _ = render(pod={"volumes": [volume], "affinity": PODS, "tolerations": [{"operator": "Exists"}]})
    assert [one for one in pod["spec"]["volumes"] if one["name"] == "data"] == [volume]
    assert pod["spec"]["affinity"] == PODS
    assert pod["spec"]["tolerations"] == [{"operator": "Exists"}]


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        ({"volumes": [{"name": "a"}]}, "spec.pod.volumes[0]: exactly one kind of volume is required"),
        ({"volumes": [{"name": "a", "iscsi": {}}]}, "spec.pod.volumes[0]: exactly one kind of volume is required"),
        (
            {"volumes": [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]},
            "spec.pod.volumes[0]: exactly one kind of volume is required",
        ),
        ({"volumes": [{"name": "A", "emptyDir": {}}]}, "spec.pod.volumes[0].name"),
        (
            {"volumes": [{"name": "a", "secret": {"secretName": "s", "items": [{"key": "k", "path": "../x"}]}}]},
            "spec.pod.volumes[0].secret.items[0].path: ",
        ),
        ({"volumeMounts": [{"name": "a", "mountPath": "relative"}]}, "spec.pod.volumeMounts[0].mountPath"),
        ({"tolerations": [{"key": "a", "effect": "Never"}]}, "spec.pod.tolerations[0].effect"),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 2**70}]}, "spec.pod.tolerations[0].tolerationSeconds"),
        ({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}}, "spec.pod.affinity"),
        ({"affinity": []}, "spec.pod.affinity"),
    ],
)
def test_what_kubernetes_would_refuse_of_a_pod_is_refused_of_the_pool(pod: dict[str, Any], said: str) -> None:
    found = build_pool(pod=pod)
    assert found.spec is None
    assert said in found.spec_error


DEEP_SETTINGS: dict[str, Any] = {
    "Kubernetes": {"kubernetes": {"image": "debian"}},
    "Docker": {"docker": {"image": "debian"}},
    "Custom": {"custom": {"run": "/bin/run"}},
}


@pytest.mark.parametrize("executor", DEEP_SETTINGS)
@pytest.mark.parametrize("depth", [33, 1_200, 9_999])
def test_settings_that_nest_too_deep_are_named(executor: str, depth: int) -> None:
    (name,) = DEEP_SETTINGS[executor]
    deep = decode_cut(b'{"a":' * depth + b"1" + b"}" * depth)
    fields = {name: DEEP_SETTINGS[executor][name] | {"settings": deep}}
    found = build_pool(executor={"type": executor, **fields})
    assert found.spec is None
    assert found.spec_error == f"spec.executor.{name}.settings: is nested deeper than 32 levels"


@pytest.mark.parametrize("path", ["a", "a/b", ".", "./a", ".hidden", "..data", "a//b/", "a..b/.c", "a/..b", "ä b"])
def test_a_relative_path_may_be_any_that_stays_below(path: str) -> None:
    assert TypeAdapter(RelativePath).validate_python(path) == path


@pytest.mark.parametrize("path", ["", "/", "/a", "..", "../a", "a/..", "a/../b", "./..", "a//..", "..//"])
def test_a_relative_path_that_leads_out_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(RelativePath).validate_python(path)
