"""What a tenant, an editor, an administrator and a thief of the operator's token can do, asked of a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local_kubernetes.kubectl import Kubectl, KubectlError, Resource
from local_kubernetes.protocol import Cluster
from tests.support.runners import build_example
from tests.support.site import SYSTEM_NAMESPACE, allow

pytestmark = pytest.mark.e2e

NAMESPACE = "tenancy"
OPERATOR = f"system:serviceaccount:{SYSTEM_NAMESPACE}:bessemer"
KINDS = "runnerpools.bessemer.dev,clusterbuilds.bessemer.dev"
FORCE_SECONDS = 60
"""For the API server to compile a policy and to enforce it."""
GONE_SECONDS = 120
AS_AUTHOR = "ValidatingAdmissionPolicy 'bessemer-bessemer-authors-of-"
"""Which of several policies answers first is not said."""
EVIL: Resource = {
    "url": "http://evil.example.org",
    "scope": {"type": "Instance"},
    "apiTokenSecret": {"name": "victim", "key": "password"},
}


def build_pool(**parts: Any) -> Resource:
    """Build a pool that names no Secret but those given."""
    scope = {"type": "Project", "path": "hpc/simulations"}
    spec = {
        "gitlab": {"url": "https://gitlab.example.org", "scope": scope},
        "runner": {"tokenSecret": {"name": "own"}, "tags": ["x"]},
        "min": 1,
    }
    manifest = build_example()
    manifest["metadata"] = {"name": "pool", "namespace": NAMESPACE}
    manifest["spec"] = spec | parts
    return manifest


def host_path() -> Resource:
    return {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}


TENANTS_INPUTS: dict[str, tuple[Resource, str]] = {
    "the node's file system": (build_pool(pod=host_path()), "policies.allow.hostPath"),
    "a system priority": (
        build_pool(pod={"priorityClassName": "system-node-critical"}),
        "policies.allow.systemPriority",
    ),
    "any node": (build_pool(pod={"tolerations": [{"operator": "Exists"}]}), "policies.allow.anyNode"),
    "the namespace's account": (
        build_pool(
            pod={"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}
        ),
        "policies.allow.serviceAccountTokens",
    ),
    "a privileged daemon": (
        build_pool(executor={"type": "Docker", "docker": {"image": "x", "daemonImage": "evil.example.org/daemon"}}),
        "policies.allow.privileged",
    ),
    "privileged job pods": (
        build_pool(executor={"type": "Kubernetes", "kubernetes": {"image": "x", "settings": {"privileged": True}}}),
        "policies.allow.privileged",
    ),
    "job pods with the node's file system": (
        build_pool(
            executor={
                "type": "Kubernetes",
                "kubernetes": {
                    "image": "x",
                    "settings": {"volumes": {"host_path": [{"name": "h", "mount_path": "/h", "host_path": "/"}]}},
                },
            }
        ),
        "policies.allow.hostPath",
    ),
}
"""What a tenant tried, and which switch of the chart it needs even from an administrator."""
TENANTS_SECRETS: dict[str, tuple[Resource, str]] = {
    "to a foreign URL": (build_pool(gitlab=EVIL), "spec.gitlab.apiTokenSecret"),
    "as the runner's token": (
        build_pool(runner={"tokenSecret": {"name": "victim"}, "tags": ["x"]}),
        "spec.runner.tokenSecret",
    ),
    "as a volume": (
        build_pool(pod={"volumes": [{"name": "v", "secret": {"secretName": "victim"}}]}),
        "spec.pod.volumes",
    ),
    "in a projected volume": (
        build_pool(pod={"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "victim"}}]}}]}),
        "spec.pod.volumes",
    ),
    "to an object store": (
        build_pool(
            cache={
                "s3": {
                    "server": "evil.example.org",
                    "bucket": "caches",
                    "accessKeySecret": {"name": "victim"},
                    "secretKeySecret": {"name": "victim"},
                }
            }
        ),
        "spec.cache.s3.accessKeySecret",
    ),
    "for a registry": (build_pool(pod={"imagePullSecrets": [{"name": "victim"}]}), "spec.pod.imagePullSecrets"),
}
"""How a tenant tried to use a Secret that he can't read, and the field that is named."""


@pytest.fixture(scope="module")
def tenancy(bessemer: Cluster) -> Iterator[Kubectl]:
    """Return a namespace with a tenant who may do all with both kinds and nothing else, and other users."""
    kubectl = Kubectl(bessemer.kubectl, bessemer.kubeconfig, NAMESPACE)
    kubectl.run("create", "namespace", NAMESPACE)
    kubectl.run("create", "role", "tenant", "--verb=*", f"--resource={KINDS}")
    kubectl.run(
        "create", "rolebinding", "tenant", "--role=tenant", "--user=tenant", "--user=pods-only", "--user=careful"
    )
    kubectl.run("create", "role", "pods", "--verb=create", "--resource=pods")
    kubectl.run("create", "rolebinding", "pods", "--role=pods", "--user=pods-only", "--user=careful")
    kubectl.run("create", "role", "own", "--verb=get", "--resource=secrets", "--resource-name=own")
    kubectl.run("create", "rolebinding", "own", "--role=own", "--user=pods-only", "--user=careful")
    kubectl.run("create", "role", "victim", "--verb=get", "--resource=secrets", "--resource-name=victim")
    kubectl.run("create", "rolebinding", "victim", "--role=victim", "--user=careful")
    kubectl.run("create", "rolebinding", "editor", "--clusterrole=edit", "--user=editor")
    kubectl.run("create", "rolebinding", "viewer", "--clusterrole=view", "--user=viewer")
    kubectl.wait_for(
        "the policies to be in force", lambda: explain_refusal(kubectl, build_pool(), "tenant"), FORCE_SECONDS
    )
    yield kubectl
    kubectl.run("delete", "runnerpool,clusterbuild", "--all", timeout=GONE_SECONDS)
    kubectl.run("delete", "namespace", NAMESPACE, timeout=GONE_SECONDS)


def explain_refusal(kubectl: Kubectl, manifest: Resource, user: str = "") -> str:
    """Apply an object in a dry run, perhaps as another user; return why it is refused, empty where it is not."""
    impersonation = [f"--as={user}"] if user else []
    try:
        kubectl.run("create", "--dry-run=server", *impersonation, "-f", "-", given=json.dumps(manifest))
    except KubectlError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("given", TENANTS_INPUTS)
def test_a_tenant_gets_no_more_than_an_ordinary_pod(tenancy: Kubectl, given: str) -> None:
    manifest, switch = TENANTS_INPUTS[given]
    assert AS_AUTHOR in explain_refusal(tenancy, manifest, "tenant")
    assert switch in explain_refusal(tenancy, manifest, "editor")
    assert switch in explain_refusal(tenancy, manifest), "an administrator must allow it first"


@pytest.mark.parametrize("given", TENANTS_SECRETS)
def test_a_tenant_uses_no_secret_that_he_can_not_read(tenancy: Kubectl, given: str) -> None:
    manifest, field = TENANTS_SECRETS[given]
    assert AS_AUTHOR in explain_refusal(tenancy, manifest, "tenant")
    refused = explain_refusal(tenancy, manifest, "pods-only")
    assert f"{field}: you must be allowed to get Secret victim in this namespace" in refused
    for user in ("careful", "editor", ""):
        assert explain_refusal(tenancy, manifest, user) == ""


def test_an_account_for_runners_is_for_those_who_may_do_as_much(tenancy: Kubectl) -> None:
    manifest = build_pool(executor={"type": "Kubernetes", "kubernetes": {"image": "x"}})
    refused = explain_refusal(tenancy, manifest, "careful")
    assert "spec.executor.type Kubernetes gives the runner permissions" in refused
    assert "you lack the verb" in refused
    assert explain_refusal(tenancy, manifest, "editor") == ""


def test_a_build_is_for_those_who_may_create_pods_and_read_its_login(tenancy: Kubectl) -> None:
    manifest = build_cluster()
    assert "you must be allowed to create pods" in explain_refusal(tenancy, manifest, "tenant")
    assert "spec.ssh.privateKeySecret" in explain_refusal(tenancy, manifest, "pods-only")
    assert explain_refusal(tenancy, manifest, "careful") == ""
    manifest["spec"]["priorityClassName"] = "system-node-critical"
    assert "policies.allow.systemPriority" in explain_refusal(tenancy, manifest)


def build_cluster() -> Resource:
    """Build a ClusterBuild whose login key is the Secret victim."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    install = {"image": "http://10.0.0.1/i.tar", "kernel": "http://10.0.0.1/k"}
    spec = {
        "management": {
            "host": "m1",
            "address": "10.0.0.2",
            "provision": False,
            "ssh": {"address": "m1", "hostKey": key},
            "clusterInterface": {"address": "10.1.0.1/16"},
        },
        "compute": {"hosts": "n1", "addresses": "10.1.0.2", "macs": ["52:54:00:00:00:02"], "install": install},
        "power": {"powerman": {"address": "p1"}},
        "ssh": {"privateKeySecret": {"name": "victim"}},
    }
    metadata = {"name": "cluster", "namespace": NAMESPACE}
    return {"apiVersion": "bessemer.dev/v1alpha1", "kind": "ClusterBuild", "metadata": metadata, "spec": spec}


def test_what_breaks_a_later_policy_can_be_labelled_and_deleted_but_not_changed(
    bessemer: Cluster, tenancy: Kubectl
) -> None:
    manifest = build_pool(pod=host_path())
    with allow(bessemer, "hostPath"):
        tenancy.wait_for(
            "it to be allowed",
            lambda: explain_refusal(tenancy, manifest) == "",
            FORCE_SECONDS,
            lambda: explain_refusal(tenancy, manifest),
        )
        tenancy.apply(manifest)
    tenancy.wait_for("it to be forbidden again", lambda: explain_refusal(tenancy, manifest), FORCE_SECONDS)
    tenancy.wait_for(
        "the operator to write the status", lambda: tenancy.get("rp", "pool").get("status", {}).get("conditions"), 60
    )
    tenancy.run("label", "rp", "pool", "team=a", "--as=tenant")
    with pytest.raises(KubectlError, match=AS_AUTHOR):
        tenancy.run("patch", "rp", "pool", "--type=merge", "-p", '{"spec": {"max": 2}}', "--as=tenant")
    with pytest.raises(KubectlError, match=r"policies\.allow\.hostPath"):
        tenancy.run("patch", "rp", "pool", "--type=merge", "-p", '{"spec": {"max": 2}}')
    tenancy.run("delete", "rp", "pool", "--as=tenant", timeout=GONE_SECONDS)
    assert tenancy.find("rp", "pool") is None


def test_kubernetes_own_roles_know_the_kinds(tenancy: Kubectl) -> None:
    def may(user: str, verb: str, resource: str, *more: str) -> bool:
        try:
            return tenancy.run("auth", "can-i", verb, resource, f"--as={user}", *more).strip() == "yes"
        except KubectlError:
            return False

    for resource in KINDS.split(","):
        assert may("viewer", "list", resource)
        assert not may("viewer", "create", resource)
        assert all(may("editor", verb, resource) for verb in ("get", "create", "patch", "delete"))
        assert not may("editor", "patch", resource, "--subresource=status")
        assert may("viewer", "get", resource, "--subresource=status")
    assert not may("stranger", "get", "runnerpools.bessemer.dev")


# What a client with the operator's token can not do, though its role has the verbs.


def build_pod(**spec: Any) -> Resource:
    owner = {"apiVersion": "bessemer.dev/v1alpha1", "kind": "RunnerPool", "name": "x", "uid": "1"}
    metadata = {"name": "x", "labels": {"app.kubernetes.io/managed-by": "bessemer"}, "ownerReferences": [owner]}
    pod = {"containers": [{"name": "x", "image": "localhost/none"}], "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod | spec}


def build_secret(name: str, type_: str, **metadata: Any) -> Resource:
    return {"apiVersion": "v1", "kind": "Secret", "type": type_, "metadata": {"name": name, **metadata}}


def bind(role: str) -> Resource:
    meta = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "x-runner"}}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    subject = {"kind": "ServiceAccount", "name": "x-runner", "namespace": NAMESPACE}
    return {**meta, "roleRef": reference, "subjects": [subject]}


OWNER = [{"apiVersion": "bessemer.dev/v1alpha1", "kind": "RunnerPool", "name": "x", "uid": "1"}]
TOKEN_TYPE = "kubernetes.io/service-account-token"
THEFTS: dict[str, tuple[Resource, str]] = {
    "the token of another account": (
        build_secret(
            "x-runner", TOKEN_TYPE, ownerReferences=OWNER, annotations={"kubernetes.io/service-account.name": "default"}
        ),
        "the operator writes Secrets of type Opaque only",
    ),
    "a Secret of another name": (
        build_secret("x", "Opaque", ownerReferences=OWNER),
        "writes only Secrets that are called",
    ),
    "a Secret without an owner": (build_secret("x-runner", "Opaque"), "that belong to a ClusterBuild or RunnerPool"),
    "a pod with an account": (build_pod(serviceAccountName="strong"), "pods without the token of a ServiceAccount"),
    "a pod with the default account's token": (
        build_pod(automountServiceAccountToken=True),
        "pods without the token of a ServiceAccount",
    ),
    "a pod with the node's files": (build_pod(**host_path()), "policies.allow.hostPath"),
    "a pod in the node's network": (build_pod(hostNetwork=True), "policies.allow.privileged"),
    "a privileged pod": (
        build_pod(containers=[{"name": "x", "image": "x", "securityContext": {"privileged": True}}]),
        "policies.allow.privileged",
    ),
    "a pod without an owner": (
        {**build_pod(), "metadata": {"name": "x"}},
        "creates, changes and deletes only its own pods",
    ),
    "another account": (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "strong"}},
        "creates only ServiceAccounts",
    ),
    "a ConfigMap": ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}, "its own ConfigMaps"),
    "another binding of its role": (
        {
            **bind("bessemer-bessemer-kubernetes-executor"),
            "subjects": [{"kind": "User", "name": "thief", "apiGroup": "rbac.authorization.k8s.io"}],
        },
        "binds that role only to the ServiceAccount",
    ),
}
"""What a thief of the operator's token tries, and what he is told."""


@pytest.fixture(scope="module")
def strong(tenancy: Kubectl) -> str:
    """Return an account that may do everything."""
    tenancy.run("create", "serviceaccount", "strong")
    return "strong"


@pytest.mark.parametrize("theft", THEFTS)
@pytest.mark.usefixtures("strong")
def test_the_operators_token_is_no_administrators(tenancy: Kubectl, theft: str) -> None:
    manifest, said = THEFTS[theft]
    assert said in explain_refusal(tenancy, manifest, OPERATOR)


def test_the_operators_token_gives_no_other_role(tenancy: Kubectl) -> None:
    refused = explain_refusal(tenancy, bind("cluster-admin"), OPERATOR)
    assert "attempting to grant RBAC permissions not currently held" in refused or "binds only the role" in refused
    assert explain_refusal(tenancy, bind("bessemer-bessemer-kubernetes-executor"), OPERATOR) == ""


def test_the_operators_token_takes_no_foreign_pod_and_changes_no_spec(tenancy: Kubectl) -> None:
    pod = build_pod()
    tenancy.apply({**pod, "metadata": {"name": "database"}})
    with pytest.raises(KubectlError, match="only its own pods"):
        tenancy.run("delete", "pod", "database", "--wait=false", f"--as={OPERATOR}")
    with pytest.raises(KubectlError, match="only its own pods"):
        tenancy.run("annotate", "pod", "database", "a=b", f"--as={OPERATOR}")
    tenancy.run("delete", "pod", "database", "--grace-period=0", "--force")
    tenancy.apply(build_cluster())
    change = '{"spec": {"onDelete": "PowerOff"}}'
    with pytest.raises(KubectlError, match="the operator changes no spec"):
        tenancy.run("patch", "cb", "cluster", "--type=merge", "-p", change, f"--as={OPERATOR}")
    tenancy.run("delete", "cb", "cluster", timeout=GONE_SECONDS)


def test_a_runners_token_makes_no_privileged_pod(tenancy: Kubectl) -> None:
    """A patch in the settings that the policies for authors can't read, or a stolen token, gets no further."""
    account = f"system:serviceaccount:{NAMESPACE}:stolen-runner"
    tenancy.run("create", "serviceaccount", "stolen-runner")
    role = "--clusterrole=bessemer-bessemer-kubernetes-executor"
    tenancy.run("create", "rolebinding", "stolen-runner", role, f"--serviceaccount={NAMESPACE}:stolen-runner")
    assert explain_refusal(tenancy, build_pod(), account) == ""
    assert "policies.allow.hostPath" in explain_refusal(tenancy, build_pod(**host_path()), account)
    assert "policies.allow.privileged" in explain_refusal(tenancy, build_pod(hostPID=True), account)


def test_the_switches_of_the_chart_let_an_administrator_do_more(bessemer: Cluster, tenancy: Kubectl) -> None:
    manifest, _ = TENANTS_INPUTS["a privileged daemon"]
    with allow(bessemer, "privileged"):
        tenancy.wait_for(
            "it to be allowed",
            lambda: explain_refusal(tenancy, manifest) == "",
            FORCE_SECONDS,
            lambda: explain_refusal(tenancy, manifest),
        )
        assert AS_AUTHOR in explain_refusal(tenancy, manifest, "tenant")
        assert explain_refusal(tenancy, manifest, "editor") == ""
    tenancy.wait_for("it to be forbidden again", lambda: explain_refusal(tenancy, manifest), FORCE_SECONDS)
