"""What can't be is refused at once or shown on the object within seconds, and goes on when the cause is gone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from local_kubernetes.kubectl import KubectlError
from tests.e2e.conftest import MakeSite
from tests.support.plan import explain_plan_refusal
from tests.support.site import Site, condition

pytestmark = pytest.mark.e2e

SHOWN_SECONDS = 5
"""Within which the user must see why nothing happens."""
POLICY_SECONDS = 60
"""For the API server to compile a new policy and to enforce it."""
ROLLOUT_SECONDS = 90
"""For an operator to end, and for its successor to be ready."""


def own_playbooks(repository: str, **more: str) -> dict[str, Any]:
    """Changes that name a repository with the site's own playbooks."""
    return {"configuration": {"playbooks": {"repository": repository, "commit": "0" * 40, **more}}}


@pytest.fixture(scope="module")
def site(make_shared_site: MakeSite) -> Site:
    return make_shared_site("admission", compute_nodes=1)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"compute": {"minReady": "101%"}}, "spec.compute.minReady"),
        ({"compute": {"minReady": 0}}, "spec.compute.minReady"),
        ({"compute": {"minReady": "0%"}}, "spec.compute.minReady"),
        ({"management": {"mac": "52:54:00:77:00"}}, "spec.management.mac"),
        ({"management": {"mac": None}}, "mac and install are required"),
        ({"management": {"ssh": {"user": "admin"}}}, "ssh.user must be root"),
        ({"management": {"ssh": {"address": "127.0.0.1"}}}, "spec.management.ssh.address"),
        ({"bootHost": {"ssh": {"address": "localhost"}}}, "spec.bootHost.ssh.address"),
        ({"bootHost": {"ssh": {"address": "a..b"}}}, "spec.bootHost.ssh.address"),
        ({"power": {"powerman": {"address": "10.0.0.256"}}}, "spec.power.powerman.address"),
        ({"compute": {"install": {"kernel": "http://10.77.0.1/k\x1bernel"}}}, "spec.compute.install.kernel"),
        ({"bootHost": None}, "bootHost is required"),
        ({"bootHost": {"ssh": {"hostKey": None}}}, "bootHost.ssh.hostKey is required"),
        ({"compute": {"install": {"method": "Stateless"}}}, "squashfs"),
        ({"retries": {"backOffSeconds": 60, "maxBackOffSeconds": 5}}, "retries.backOffSeconds"),
        ({"onDelete": "Explode"}, "spec.onDelete"),
        (own_playbooks("ssh://git@git.example/site.git"), "knownHosts are required for ssh://"),
        (
            own_playbooks("http://git.example/site.git", loginSecretName="git"),
            "needs a repository with https:// or ssh://",
        ),
        (own_playbooks("https://me:secret@git.example/site.git"), "must not contain a password"),
        (own_playbooks("file:///srv/site.git"), "spec.configuration.playbooks.repository"),
    ],
)
def test_bad_field_is_refused_by_name(site: Site, changes: dict[str, Any], field: str) -> None:
    manifest = site.build_manifest("refused", **changes)
    with pytest.raises(KubectlError, match=field.replace(".", r"\.")):
        site.kubectl.apply(manifest)
    assert field in explain_plan_refusal(manifest)
    assert site.kubectl.find("clusterbuild", "refused") is None


def test_explicit_null_is_refused_like_an_absent_field(site: Site) -> None:
    manifest = site.build_manifest("refused")
    manifest["spec"]["management"]["mac"] = None
    with pytest.raises(KubectlError, match="mac and install are required"):
        site.kubectl.apply(manifest)
    manifest = site.build_manifest("refused")
    manifest["spec"]["bootHost"] = None
    with pytest.raises(KubectlError, match="bootHost is required"):
        site.kubectl.apply(manifest)


def test_preflight_lists_all_that_is_wrong_at_once(site: Site) -> None:
    manifest = site.build_manifest("wrong", retries={"phaseAttempts": 1})
    manifest["spec"]["compute"] |= {
        "hosts": "oxygen[2-4]",
        "addresses": "10.141.0.[2-3]",
        "macs": ["52:54:00:77:00:01"] * 2,
    }
    manifest["spec"]["power"]["powerman"]["port"] = 1
    site.kubectl.apply(manifest)
    build = site.wait_until_settled("wrong", seconds=120)
    ready = condition(build, "Ready")
    assert ready["status"] == "False"
    message = next(phase for phase in build["status"]["phases"] if phase["name"] == "Preflight")["message"]
    assert all(word in message for word in ("hosts", "addresses", "52:54:00:77:00:01", "powerman")), message
    site.kubectl.run("delete", "clusterbuild", "wrong", timeout=120)


def test_unknown_secret_is_shown_and_its_coming_lets_the_build_go_on(site: Site) -> None:
    secret = {"ssh": {"privateKeySecret": {"name": "late-ssh"}}}

    def message() -> str:
        return str(condition(site.get_build("keyless"), "PreflightPassed").get("message"))

    def progress() -> str:
        return str(condition(site.get_build("keyless"), "Progressing")["reason"])

    site.kubectl.apply(site.build_manifest("keyless", power={"powerman": {"port": 1}}, **secret))
    site.wait_until_settled("keyless", seconds=120)
    assert "late-ssh" in message()
    assert "spec.power.powerman" in message()
    site.kubectl.apply(site.build_manifest("keyless", **secret))
    site.kubectl.wait_for(
        "the Secret to be all that is missed",
        lambda: progress() == "SecretMissing",
        60,
        lambda: site.explain("keyless"),
    )
    assert "powerman" not in message()
    site.apply_login("late-ssh")
    site.kubectl.wait_for(
        "Preflight to pass",
        lambda: condition(site.get_build("keyless"), "PreflightPassed")["status"] == "True",
        60,
        lambda: site.explain("keyless"),
    )
    site.kubectl.run("delete", "clusterbuild", "keyless", timeout=180)
    site.kubectl.run("delete", "secret", "late-ssh")


def assert_shown_until_cured(site: Site, name: str, cause: str, cure: Callable[[], object]) -> None:
    """Apply a build that can't go on, see why within seconds, cure it, and see the build go on without a hand."""
    site.kubectl.apply(site.build_manifest(name))
    try:
        site.kubectl.wait_for(
            f"{cause} to be named",
            lambda: cause in str(site.get_build(name).get("status")),
            SHOWN_SECONDS,
            lambda: site.explain(name),
        )
    finally:
        cure()
    site.kubectl.wait_for(
        "Preflight to pass",
        lambda: condition(site.get_build(name), "PreflightPassed")["status"] == "True",
        60,
        lambda: site.explain(name),
    )
    site.kubectl.run("delete", "clusterbuild", name, timeout=180)


def test_quota_is_shown_and_its_going_lets_the_build_go_on(site: Site) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"pods": "1"}}}
    site.kubectl.apply(quota)
    assert_shown_until_cured(site, "crowded", "quota", lambda: site.kubectl.run("delete", "resourcequota", "full"))


def test_unschedulable_pod_is_shown_and_goes_on_when_there_is_a_node(site: Site) -> None:
    (node,) = [found["metadata"]["name"] for found in site.kubectl.items("nodes")]
    site.kubectl.run("cordon", node)
    assert_shown_until_cured(site, "homeless", "Unschedulable", lambda: site.kubectl.run("uncordon", node))


def test_refusal_by_an_admission_policy_is_shown_and_its_going_lets_the_build_go_on(site: Site) -> None:
    labels = "has(object.metadata.labels) && 'bessemer.dev/phase' in object.metadata.labels"
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    meta = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "no-phases"}}
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [pods]},
        "validations": [{"expression": f"!({labels})", "message": "phases are not welcome"}],
    }
    binding = {"policyName": "no-phases", "validationActions": ["Deny"]}
    site.kubectl.apply(
        {**meta, "kind": "ValidatingAdmissionPolicy", "spec": policy},
        {**meta, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    )
    site.kubectl.wait_for("the policy to be in force", lambda: is_refused(site), POLICY_SECONDS)
    cure = partial(
        site.kubectl.run, "delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "no-phases"
    )
    assert_shown_until_cured(site, "unwelcome", "phases are not welcome", cure)


def is_refused(site: Site) -> bool:
    """Return whether a pod that looks like a phase's is refused; none is made."""
    labels = "--labels=bessemer.dev/phase=Preflight"
    try:
        site.kubectl.run("run", "probe", "--image=localhost/none", "--dry-run=server", labels)
    except KubectlError:
        return True
    return False


def test_missing_image_is_shown(site: Site) -> None:
    (container,) = site.system.get("deployment", "bessemer")["spec"]["template"]["spec"]["containers"]
    image = container["image"]
    set_phase_image(site, f"{image}-missing")
    try:
        site.kubectl.apply(site.build_manifest("imageless"))
        site.kubectl.wait_for(
            "the new operator to take the lead",
            lambda: site.kubectl.items("pods", "--selector", "bessemer.dev/build=imageless"),
            ROLLOUT_SECONDS,
        )
        site.kubectl.wait_for(
            "the image to be missed",
            lambda: "ErrImageNeverPull" in str(site.get_build("imageless").get("status")),
            SHOWN_SECONDS,
            lambda: site.explain("imageless"),
        )
    finally:
        set_phase_image(site, image)
    site.kubectl.run("delete", "clusterbuild", "imageless", timeout=180)


def set_phase_image(site: Site, image: str) -> None:
    """Have the operator start phases from an image."""
    site.system.run("set", "env", "deployment/bessemer", f"BESSEMER_IMAGE={image}")
    site.system.run(
        "rollout", "status", "deployment/bessemer", f"--timeout={ROLLOUT_SECONDS}s", timeout=ROLLOUT_SECONDS
    )


def test_second_build_waits_for_the_machines_of_the_first(site: Site) -> None:
    site.kubectl.apply(site.build_manifest("first"))
    site.kubectl.wait_for(
        "first to own the machines",
        lambda: (
            site.get_build("first").get("status")
            and condition(site.get_build("first"), "MachinesClaimed")["status"] == "True"
        ),
        30,
    )
    site.kubectl.apply(site.build_manifest("second"))
    waiting = site.kubectl.wait_for(
        "second to wait",
        lambda: (
            (s := site.get_build("second")).get("status") and condition(s, "MachinesClaimed")["status"] == "False" and s
        ),
        SHOWN_SECONDS,
    )
    assert "first" in condition(waiting, "MachinesClaimed")["message"]
    site.kubectl.run("delete", "clusterbuild", "first", timeout=180)
    site.kubectl.wait_for(
        "second to go on", lambda: condition(site.get_build("second"), "MachinesClaimed")["status"] == "True", 30
    )
    site.kubectl.run("delete", "clusterbuild", "second", timeout=180)
