"""Build triggers on a real Kubernetes; GitLab itself is the simulator. The installs are in other modules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import yaml

from local_kubernetes.kubectl import KubectlError
from local_kubernetes.protocol import Cluster
from tests.support.checkout import ROOT
from tests.support.site import SYSTEM_NAMESPACE
from tests.support.triggers import SOON, Triggers, open_triggers

pytestmark = pytest.mark.e2e
OPERATOR = f"system:serviceaccount:{SYSTEM_NAMESPACE}:bessemer"
OXYGEN = (ROOT / "examples" / "oxygen.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def triggers(bessemer: Cluster) -> Iterator[Triggers]:
    """Yield a namespace with a GitLab, a trigger and its webhook."""
    with open_triggers(bessemer) as made:
        made.apply()
        made.add_hook()
        yield made


def test_a_push_to_a_protected_branch_makes_the_cluster_build_of_its_commit(triggers: Triggers) -> None:
    commit = triggers.push("main", oxygen=OXYGEN)
    triggers.wait_for_event(commit, "Building", "Failed")
    assert triggers.builds() == {"oxygen": commit}
    assert triggers.gitlab.deliveries()[-1]["status"] == 200
    spec = triggers.kubectl.get("clusterbuild", "oxygen")["spec"]
    assert spec["compute"]["hosts"] == "oxygen[2-5]"
    line = triggers.kubectl.run("get", "bt", "clusters").splitlines()[-1]
    assert re.match(rf"clusters +True +push main {commit[:12]}", line), line


def test_a_manifest_that_asks_for_more_is_refused_by_name(triggers: Triggers) -> None:
    before = triggers.builds()
    commit = triggers.push("main", oxygen=OXYGEN.replace("oxygen[2-5]", "victim[2-5]"))
    event = triggers.wait_for_event(commit, "Refused")
    assert event["reason"] == "NotAllowed"
    assert "spec.compute.hosts: victim[2-5] is not allowed" in event["message"]
    assert triggers.builds() == before


def test_what_only_the_api_server_knows_to_be_wrong_is_refused_in_its_words(triggers: Triggers) -> None:
    commit = triggers.push(
        "main", oxygen=OXYGEN.replace("    host: oxygen1", "    host: oxygen1\n    provision: false")
    )
    event = triggers.wait_for_event(commit, "Refused")
    assert (event["reason"], "ssh.hostKey is required" in event["message"]) == ("BuildRefused", True), event


def test_an_unprotected_branch_builds_nothing(triggers: Triggers) -> None:
    before = triggers.builds()
    commit = triggers.push("feature", oxygen=OXYGEN)
    assert triggers.wait_for_event(commit, "Planned")["rule"] == "check"
    assert triggers.builds() == before


def test_a_tag_waits_for_the_build_of_the_branch_and_is_shown_in_the_queue(triggers: Triggers) -> None:
    commit = triggers.gitlab.add_commit(
        "hpc/clusters",
        pushed_by="ada",
        branch="main",
        message="Release",  # or it may be the commit of another branch, made in the same second
        tags=["release/1"],
        files={"clusters/oxygen.yaml": OXYGEN},
    )
    triggers.wait_for_event(commit, "Building", "Queued", "Failed")
    triggers.kubectl.wait_for("the tag's event", lambda: len(find(triggers, commit)) == 2, SOON, triggers.explain)


def find(triggers: Triggers, commit: str) -> list[str]:
    """Return the refs of the events of a commit."""
    return [event["ref"] for event in triggers.status()["events"] if event["commit"] == commit]


def test_a_thief_of_the_operators_token_can_not_create_a_cluster_build_by_itself(triggers: Triggers) -> None:
    """The operator may create ClusterBuilds for triggers only, and changes none that a user has made."""
    manifest = yaml.safe_load(OXYGEN)
    manifest["metadata"]["name"] = "stolen"
    with pytest.raises(KubectlError, match="except ClusterBuilds of BuildTriggers"):
        triggers.kubectl.run("create", "-f", "-", f"--as={OPERATOR}", given=json.dumps(manifest))


def test_who_may_not_create_cluster_builds_can_not_have_a_trigger_do_it(triggers: Triggers) -> None:
    rules = [{"apiGroups": ["bessemer.dev"], "resources": ["buildtriggers"], "verbs": ["create", "get"]}]
    rules += [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    rules += [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}]
    metadata, group = {"name": "author"}, "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules}
    binding = role | {"kind": "RoleBinding", "subjects": [{"apiGroup": group, "kind": "User", "name": "author"}]}
    binding["roleRef"] = {"apiGroup": group, "kind": "Role", "name": "author"}
    del binding["rules"]
    triggers.kubectl.apply(role, binding)
    with pytest.raises(KubectlError, match="you lack the verb create on clusterbuilds"):
        triggers.kubectl.run("create", "-f", "-", "--as=author", given=json.dumps(triggers.build("other")))
