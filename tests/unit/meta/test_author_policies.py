"""An object can do no more than its author: every way by which a spec uses another object's contents is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from bessemer.api.admission import CHECKS_PER_EXPRESSION, Reference, build_policies, list_references
from bessemer.api.base import ApiModel
from bessemer.api.fields import ReferenceTo, SecretName
from bessemer.api.runnerpool.podtypes import Volume
from bessemer.api.runnerpool.rights import EXECUTOR_RULES, PROJECTED_SECRET, VOLUME_SECRETS
from bessemer.api.schema import compute_structural_schema
from bessemer.crdgen import list_crds
from tests.support.examples import examples
from tests.support.policies import (
    ADMIN,
    FILES,
    evaluate,
    find_author_refusals,
    list_refusals,
    load_author_policies,
    make_user,
)

MODELS: dict[str, type[ApiModel]] = {crd.plural: crd.models[0] for crd in list_crds()}
REFERENCES = [(plural, found) for plural, model in MODELS.items() for found in list_references(model)]
MOST_CHECKS = 28
"""Source: RuntimeCELCostBudget (10,000,000) in k8s.io/apiserver/pkg/apis/cel/config.go, by 350,000 for a check."""
SUSPICIOUS = re.compile(r"secret|account|password|credential|clusterref", re.IGNORECASE)
VOLUMES = "spec.pod.volumes."
"""What volumes name is asked for by rules of their own, of which the next test knows."""
HARMLESS = {"spec.cache.s3.authentication"}
"""Fields with such a name that name no object."""
EDITOR = [f"{verb} {full}" for rule in EXECUTOR_RULES for full in rule["resources"] for verb in rule["verbs"]]
"""What the account of runners that run jobs in pods may do; who may edit a namespace may do all of it."""
TRIGGER_RIGHTS = [f"{verb} clusterbuilds" for verb in ("create", "patch", "delete")]
"""What a trigger does with ClusterBuilds on behalf of its author."""
POOL = {"gitlab": {"url": "https://gitlab.example.org"}, "runner": {}}


def walk_fields(schema: dict[str, Any], path: str) -> Iterator[str]:
    """List all fields of a structural schema."""
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from walk_fields(inner.get("items", inner), f"{path}.{name}")


def build_spec(reference: Reference, names: list[str]) -> dict[str, Any]:
    """Build the smallest spec that names objects in one field."""
    spec: Any = None
    for step in reversed(reference.path):
        if spec is None and step.endswith("[]"):
            spec = {step.removesuffix("[]"): names}
        elif spec is None:
            spec = [{step: name} for name in names]
        elif step.endswith("[]"):
            spec = {step.removesuffix("[]"): spec}
        else:
            spec = {step: spec[0] if isinstance(spec, list) else spec}
    found: dict[str, Any] = spec[0] if isinstance(spec, list) else spec
    return found


def pool(**changes: Any) -> dict[str, Any]:
    return {**POOL, **changes}


@pytest.mark.parametrize("plural", MODELS)
def test_every_field_that_could_name_a_secret_or_an_account_is_asked_for(plural: str) -> None:
    asked = {".".join(("spec", *found.path)).replace("[]", "") for name, found in REFERENCES if name == plural}
    fields = set(walk_fields(compute_structural_schema(MODELS[plural]), "spec"))
    suspicious = {field for field in fields if SUSPICIOUS.search(field) and not field.startswith(VOLUMES)} - HARMLESS
    uncovered = {
        field
        for field in suspicious
        if not any(
            name == field or name.startswith(f"{field}.") or field.startswith(name.rpartition(".")[0] + ".")
            for name in asked
        )
    }
    assert not uncovered, "mark the field with SecretName or ServiceAccountName of bessemer.api.fields"
    assert asked <= fields


def test_every_field_of_a_volume_that_names_a_secret_is_known_to_the_rules_of_volumes() -> None:
    fields = walk_fields(compute_structural_schema(Volume), "")
    naming = {field for field in fields if re.search(r"secret[^.]*\.name$|secretName$", field, re.IGNORECASE)}
    assert naming == {"." + ".".join(path) for path in (*VOLUME_SECRETS, PROJECTED_SECRET)}


@pytest.mark.parametrize("kind", list_crds(), ids=lambda kind: kind.kind)
def test_a_field_that_is_new_is_asked_for_by_itself(kind: Any) -> None:
    class Login(ApiModel):
        """A part of a spec."""

        name: SecretName
        """Its Secret."""

    class Spec(ApiModel):
        """A spec."""

        fresh: Login | None = None
        """One."""
        many: list[Login] = Field(default_factory=list, max_length=3)
        """Some."""

    assert [(found.field, found.most) for found in list_references(Spec)] == [("spec.fresh", 1), ("spec.many", 3)]
    policies = build_policies(kind.kind, Spec, (), ())
    rules = [rule for policy in policies["policies"] for rule in policy]
    given_ = {"object": {"spec": {"fresh": {"name": "a"}, "many": [{"name": "b"}, {"name": "c"}]}}, "oldObject": None}
    user = make_user("create pods", "get secrets/b")
    refused = evaluate(rules, policies["variables"], given_, user)
    assert [line.partition(":")[0] for line in refused] == ["spec.fresh", "spec.many"]


@pytest.mark.parametrize(("plural", "reference"), REFERENCES, ids=lambda value: getattr(value, "field", value))
def test_who_names_an_object_must_be_allowed_to_get_it(plural: str, reference: Reference) -> None:
    names = [f"name-{number}" for number in range(reference.most)]
    spec = build_spec(reference, names)
    executor = [] if plural == "clusterbuilds" else [right for right in EDITOR if not right.startswith("get ")]
    get = f"get {reference.target.plural}"
    rights = [
        "create pods",
        *executor,
        *(TRIGGER_RIGHTS if plural == "buildtriggers" else []),
        *(f"{get}/{name}" for name in names),
    ]
    assert list_refusals(plural, spec, make_user(*rights)) == []
    for missing in {names[0], names[-1], names[len(names) // 2]}:
        user = make_user(*(right for right in rights if right != f"{get}/{missing}"))
        (line, *others) = list_refusals(plural, spec, user)
        assert not others
        assert line.startswith(f"{reference.field}: you must be allowed to get ")
        assert missing in line


@pytest.mark.parametrize("plural", MODELS)
def test_who_may_not_create_pods_may_not_have_bessemer_do_it(plural: str) -> None:
    spec = pool() if plural == "runnerpools" else {}
    (line,) = list_refusals(plural, spec, make_user("get secrets", *TRIGGER_RIGHTS))
    assert "you must be allowed to create pods in this namespace" in line


def test_only_who_may_read_logs_may_let_jobs_see_them() -> None:
    rights = ("create pods", "get secrets", *TRIGGER_RIGHTS)
    spec = {"rules": [{"name": "a", "push": {"branches": ["main"]}}]}
    assert list_refusals("buildtriggers", spec, make_user(*rights)) == []
    spec["rules"].append({"name": "b", "job": {"refs": ["main"]}})
    (line,) = list_refusals("buildtriggers", spec, make_user(*rights))
    assert "you lack the verb get on pods/log" in line
    assert list_refusals("buildtriggers", spec, make_user(*rights, "get pods/log")) == []


@pytest.mark.parametrize(
    "volume",
    [
        {"secret": {"secretName": "victim"}},
        {"projected": {"sources": [{"configMap": {"name": "x"}}, {"secret": {"name": "victim"}}]}},
        {"csi": {"driver": "x", "nodePublishSecretRef": {"name": "victim"}}},
    ],
    ids=lambda volume: next(iter(volume)),
)
def test_a_volume_shows_no_secret_that_its_author_may_not_get(volume: dict[str, Any]) -> None:
    spec = pool(pod={"volumes": [{"name": "other", "emptyDir": {}}, {"name": "v", **volume}]})
    (line,) = list_refusals("runnerpools", spec, make_user("create pods"))
    assert line == "spec.pod.volumes: you must be allowed to get Secret victim in this namespace (verb get on secrets)"
    assert list_refusals("runnerpools", spec, make_user("create pods", "get secrets/victim")) == []


@settings(max_examples=examples(8), deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=7))
def test_every_secret_of_every_volume_is_asked_for(sources: list[int]) -> None:
    names = iter(f"s{number}" for number in range(100))
    volumes = [{"name": f"v{at}", "projected": {"sources": [{"secret": {"name": next(names)}} for _ in range(count)]}}
               for at, count in enumerate(sources)]  # fmt: skip
    wanted = [f"s{number}" for number in range(sum(sources))]
    refused = list_refusals("runnerpools", pool(pod={"volumes": volumes}), make_user("create pods"))
    assert bool(refused) == bool(wanted)
    user = make_user("create pods", *(f"get secrets/{name}" for name in wanted))
    assert bool(list_refusals("runnerpools", pool(pod={"volumes": volumes}), user)) == (len(wanted) > 16)


def kubernetes(**settings_: Any) -> dict[str, Any]:
    return pool(executor={"type": "Kubernetes", "kubernetes": {"image": "x", "settings": settings_}})


POWERFUL = [
    ("privileged", pool(executor={"type": "Docker", "docker": {"image": "x", "daemonImage": "y"}}), "executor.type"),
    ("privileged", kubernetes(privileged=True), "spec.executor.kubernetes.settings"),
    ("privileged", kubernetes(privileged="true"), "spec.executor.kubernetes.settings"),
    ("privileged", kubernetes(cap_add=["SYS_ADMIN"]), "spec.executor.kubernetes.settings"),
    ("privileged", kubernetes(build_container_security_context={"privileged": True}), "spec.executor.kubernetes"),
    (
        "privileged",
        kubernetes(helper_container_security_context={"capabilities": {"add": ["ALL"]}}),
        "spec.executor.kubernetes.settings",
    ),
    ("privileged", kubernetes(pod_spec=[{"name": "x", "patch": "hostNetwork: true"}]), "pod_spec"),
    ("privileged", kubernetes(pod_spec=[{"name": "x", "patch": '{"hostPID": true}'}]), "pod_spec"),
    ("privileged", kubernetes(pod_spec=[{"name": "x", "patch": '{"host\\u0049PC": true}'}]), "pod_spec"),
    *(
        (switch, kubernetes(pod_spec=[{"name": "x", "patch": patch}]), "pod_spec" if switch != "systemPriority" else "")
        for switch in ("privileged", "hostPath", "systemPriority", "anyNode")
        for patch in (
            '{"volumes": [{"host\\\n  Path": {"path": "/"}}]}',
            '{"host\\\u2028Path": {}}',
            '{"host\\u0050ath": {}}',
            "{!!binary aG9zdFBhdGg=: {path: /}}",
            "{!!b%69nary aG9zdFBhdGg=: {path: /}}",
            "{!<tag:yaml.org,2002:binary> aG9zdFBhdGg=: {path: /}}",
            "%TAG !x! tag:yaml.org,2002:bin\n---\n{!x!ary aG9zdFBhdGg=: {path: /}}",
        )
    ),
    ("anyNode", kubernetes(pod_spec=[{"name": "x", "patch": '{"nodeName": "control-plane-1"}'}]), "pod_spec"),
    ("anyNode", kubernetes(pod_spec=[{"name": "x", "patch_type": "json", "patch": '[{"path": "/nodename"}]'}]), "pod_"),
    ("hostPath", pool(pod={"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}), "spec.pod.volumes"),
    ("hostPath", kubernetes(volumes={"host_path": [{"name": "h", "mount_path": "/h"}]}), "volumes.host_path"),
    ("hostPath", kubernetes(pod_spec=[{"patch": "volumes: [{name: h, hostPath: {path: /}}]"}]), "pod_spec"),
    ("systemPriority", pool(pod={"priorityClassName": "system-node-critical"}), "spec.pod.priorityClassName"),
    ("systemPriority", kubernetes(priority_class_name="system-cluster-critical"), "priority class"),
    ("systemPriority", kubernetes(pod_spec=[{"patch": "priorityClassName: system-node-critical"}]), "priority class"),
    ("anyNode", pool(pod={"tolerations": [{"operator": "Exists"}]}), "spec.pod.tolerations"),
    ("anyNode", pool(pod={"tolerations": [{"key": "", "operator": "Exists"}]}), "spec.pod.tolerations"),
    (
        "anyNode",
        pool(pod={"tolerations": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}),
        "spec.pod.tolerations",
    ),
    ("anyNode", kubernetes(node_tolerations={"": "NoSchedule"}), "node_tolerations"),
    ("anyNode", kubernetes(node_tolerations={"node-role.kubernetes.io/master": "NoSchedule"}), "node_tolerations"),
    (
        "serviceAccountTokens",
        pool(pod={"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
        "spec.pod.volumes",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("switch", "spec", "field"), POWERFUL)
def test_what_is_more_than_an_ordinary_pod_is_refused_to_all_until_it_is_switched_on(
    switch: str, spec: dict[str, Any], field: str
) -> None:
    refused = find_author_refusals("runnerpools", spec, ADMIN)
    assert [line for line, _ in refused if field in line and f"policies.allow.{switch}" in line]
    assert all((lifted_by == switch) == (f"policies.allow.{switch}" in line) for line, lifted_by in refused)


@pytest.mark.parametrize(
    "settings_",
    [
        {"Privileged": True},
        {"Cap_Add": ["SYS_ADMIN"]},
        {"Volumes": {"host_path": [{"name": "h"}]}},
        {"volumes": {"Host_Path": [{"name": "h"}]}},
        {"build_container_security_context": {"PRIVILEGED": True}},
        {"build_container_security_context": {"capabilities": {"Add": ["SYS_ADMIN"]}}},
        {"pod_spec": [{"Patch": "hostNetwork: true"}]},
        {"privile\u0130ged": True},
    ],
)
def test_a_setting_is_looked_at_however_it_is_written(settings_: dict[str, Any]) -> None:
    assert list_refusals("runnerpools", kubernetes(**settings_), ADMIN)


def test_a_file_with_a_patch_cannot_be_looked_into() -> None:
    refused = list_refusals("runnerpools", kubernetes(pod_spec=[{"name": "x", "patch_path": "/patch.yaml"}]), ADMIN)
    assert all("pod_spec" in line or "priority" in line for line in refused)
    assert refused


ORDINARY = [
    pool(pod={"tolerations": [{"key": "gpu", "operator": "Exists"}], "priorityClassName": "batch"}),
    kubernetes(privileged=False, node_tolerations={"gpu=yes": "NoSchedule"}, cap_drop=["ALL"]),
    kubernetes(volumes={"empty_dir": [{"name": "e", "mount_path": "/e"}]}),
    kubernetes(pod_spec=[{"name": "x", "patch": "runtimeClassName: kata"}]),
    kubernetes(pod_spec=[{"name": "x", "patch": "- {valueFrom: {fieldRef: {fieldPath: spec.nodeName}}, a: 'b\\d!'}"}]),
    kubernetes(build_container_security_context={"run_as_user": 1000, "capabilities": {"drop": ["ALL"]}}),
    pool(pod={"volumes": [{"name": "c", "configMap": {"name": "x"}}, {"name": "p", "persistentVolumeClaim": {}}]}),
]


@pytest.mark.parametrize("spec", ORDINARY)
def test_what_an_ordinary_pod_may_do_is_not_refused(spec: dict[str, Any]) -> None:
    assert list_refusals("runnerpools", spec, ADMIN) == []


def test_an_author_who_may_do_what_runners_with_an_account_may_is_not_refused() -> None:
    assert list_refusals("runnerpools", kubernetes(), make_user(*EDITOR)) == []


@pytest.mark.parametrize("right", EDITOR)
def test_runners_with_an_account_do_no_more_than_the_author(right: str) -> None:
    refused = list_refusals("runnerpools", kubernetes(), make_user(*(other for other in EDITOR if other != right)))
    verb, resource = right.split()
    assert any(line.endswith(f"you lack the verb {verb} on {resource}") for line in refused) or right == "create pods"
    assert refused


def test_a_system_priority_of_phase_pods_has_to_be_switched_on() -> None:
    spec = {"priorityClassName": "system-node-critical"}
    (line,) = list_refusals("clusterbuilds", spec, ADMIN)
    assert line.startswith("spec.priorityClassName: ")
    assert list_refusals("clusterbuilds", spec, ADMIN, allow={"systemPriority"}) == []


@pytest.mark.parametrize("plural", MODELS)
def test_the_api_server_can_pay_for_all_questions(plural: str) -> None:
    _, policies = load_author_policies(plural)
    for rules in policies:
        assert sum(rule["expression"].count(".check(") for rule in rules) <= MOST_CHECKS
        for rule in rules:
            assert rule["expression"].count(".check(") <= CHECKS_PER_EXPRESSION
            assert "authorizer" not in rule.get("messageExpression", ""), "the API server refuses such a policy"


def test_the_examples_are_taken_from_who_may_read_what_they_name() -> None:
    root = FILES.parents[2]
    for path, plural in (
        ("examples/oxygen.yaml", "clusterbuilds"),
        ("examples/runnerpool.yaml", "runnerpools"),
        ("examples/buildtrigger.yaml", "buildtriggers"),
    ):
        spec = yaml.safe_load((root / path).read_text())["spec"]
        assert list_refusals(plural, spec, ADMIN) == []
        assert list_refusals(plural, spec, make_user("create pods"))


def test_a_reference_in_a_list_in_a_list_cannot_be_asked_for_and_is_an_error() -> None:
    class Inner(ApiModel):
        """A part."""

        name: Annotated[str, ReferenceTo("", "secrets")] = ""
        """Some."""
        more: list[Inner] = Field(default_factory=list)
        """Nested."""

    class Outer(ApiModel):
        """A spec."""

        inner: list[Inner] = Field(default_factory=list)
        """Some."""

    with pytest.raises(ValueError, match="nested lists"):
        list_references(Outer)
