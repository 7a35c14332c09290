"""From a webhook to a ClusterBuild and the trigger's status."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from bessemer.errors import Retry
from bessemer.gitlab.protocol import AccessTokenRefused, GitLabUnavailable, RateLimited
from bessemer.kube.protocol import Refused, Unavailable
from tests.support.trigger_world import KEY, MAIN, TriggerWorld, build_manifest, name_commit, push_body

GPU: dict[str, Any] = {"compute": {"hosts": "evil[2-5]"}}


def with_metadata(line: str) -> bytes:
    """Return a manifest with one more line in its metadata."""
    return build_manifest().replace(b"metadata:", f"metadata:\n  {line}".encode())


async def receive(world: TriggerWorld, commit: str, ref: str = MAIN, **changes: Any) -> str:
    """Take a push and handle it; return the outcome of the webhook."""
    return await world.receive(push_body(commit, ref, **changes))


async def test_a_push_leads_to_the_cluster_build_of_its_commit(world: TriggerWorld) -> None:
    commit = world.push("one", oxygen=build_manifest())
    status, text = await world.deliver(push_body(commit))
    assert (status, text.split()[0]) == (200, "recorded")
    assert world.build() is None, "the webhook is answered first"
    await world.settle()
    assert world.commit_of() == commit
    assert world.states() == [("Building", "Applied")]
    assert (world.status()["active"], world.status()["queued"]) == (1, 0)
    world.end_build()
    await world.settle()
    assert world.states() == [("Succeeded", "Verified")]
    assert world.status()["lastEvent"] == f"push main {commit[:12]}"
    assert world.status()["lastResult"] == "Succeeded: Verified"
    assert world.condition("Ready") == ("True", "Listening")


async def test_the_cluster_build_says_where_it_comes_from(world: TriggerWorld) -> None:
    commit = world.push("one", oxygen=build_manifest())
    await receive(world, commit)
    raw = world.build()
    assert raw is not None
    (record,) = world.records()
    assert raw["metadata"]["labels"] == {"bessemer.dev/trigger": "site"}
    assert raw["metadata"]["annotations"] == {
        "bessemer.dev/commit": commit,
        "bessemer.dev/event": record,
        "bessemer.dev/project": "hpc/clusters",
        "bessemer.dev/ref": "refs/heads/main",
        "bessemer.dev/retry": record,
        "bessemer.dev/rule": "main",
    }
    assert "ownerReferences" not in raw["metadata"], "it may outlive the trigger"


async def test_a_later_commit_changes_the_same_cluster_build(world: TriggerWorld) -> None:
    await receive(world, world.push("one", oxygen=build_manifest(configuration={"variables": {"a": 1, "b": 2}})))
    world.end_build()
    uid = (world.build() or {})["metadata"]["uid"]
    commit = world.push("two", oxygen=build_manifest(configuration={"variables": {"a": 1}}))
    await receive(world, commit)
    raw = world.build()
    assert raw is not None
    assert (raw["metadata"]["uid"], world.commit_of()) == (uid, commit)
    assert "b" not in raw["spec"]["configuration"]["variables"], "what is removed from the file is removed"


async def test_the_same_event_ten_times_and_in_any_order_is_one_build(world: TriggerWorld) -> None:
    old, new = world.push("old", oxygen=build_manifest()), world.push("new", oxygen=build_manifest())
    outcomes = [await world.take(push_body(commit)) for commit in [new, old] * 5]
    assert outcomes == ["Taken"] * 2 + ["Known"] * 8
    await world.settle()
    assert [name for kind, name in world.kubernetes.created if kind == "clusterbuilds"] == ["oxygen"]
    assert world.commit_of() == new
    assert sorted(world.states()) == [("Building", "Applied"), ("Superseded", "Superseded")]
    await receive(world, old)
    assert world.commit_of() == new


async def test_an_event_that_was_forgotten_and_arrives_again_brings_no_old_commit_back(world: TriggerWorld) -> None:
    old, new = world.push("old", oxygen=build_manifest()), world.push("new", oxygen=build_manifest())
    await receive(world, new)
    assert await receive(world, old) == "Taken"
    assert world.commit_of() == new


async def test_a_manifest_that_asks_for_more_is_refused_and_the_field_is_named(world: TriggerWorld) -> None:
    await receive(world, world.push("one", oxygen=build_manifest(**GPU)))
    assert world.build() is None
    assert world.states() == [("Refused", "NotAllowed")]
    message = world.status()["events"][0]["message"]
    assert "spec.compute.hosts: evil[2-5] is not allowed: spec.allow.machines" in message


async def test_overrides_of_the_trigger_are_applied_and_checked_as_well(world: TriggerWorld) -> None:
    await world.apply(overrides={"compute": {"maxConcurrent": 2}})
    await receive(world, world.push("one", oxygen=build_manifest()))
    assert (world.build() or {})["spec"]["compute"]["maxConcurrent"] == 2
    await world.apply(overrides=GPU)
    await receive(world, world.push("two", oxygen=build_manifest()))
    assert world.states()[-1] == ("Refused", "NotAllowed")


async def test_the_commit_of_the_playbooks_is_that_of_the_event_where_it_is_left_out(world: TriggerWorld) -> None:
    await world.apply(allow={"repositories": ["https://git.example/"], **ALLOW})
    playbooks = {"repository": "https://git.example/site.git", "management": "site.yml"}
    commit = world.push("one", oxygen=build_manifest(configuration={"playbooks": playbooks}))
    await receive(world, commit)
    assert (world.build() or {})["spec"]["configuration"]["playbooks"]["commit"] == commit


async def test_a_cluster_build_that_is_not_the_triggers_is_left_alone(world: TriggerWorld) -> None:
    await receive(world, world.push("one", oxygen=build_manifest()))
    world.kubernetes.edit("clusterbuilds", KEY[0], "oxygen", {"metadata": {"labels": {"bessemer.dev/trigger": None}}})
    spec = (world.build() or {})["spec"]
    await receive(world, world.push("two", oxygen=build_manifest(onDelete="PowerOff")))
    assert (world.build() or {})["spec"] == spec
    assert world.states()[-1] == ("Refused", "NameTaken")


async def test_a_cluster_build_that_the_api_server_refuses_ends_the_event_with_its_words(world: TriggerWorld) -> None:
    world.kubernetes.refuse = lambda kind, _: Refused("Invalid", "no") if kind.plural == "clusterbuilds" else None
    await receive(world, world.push("one", oxygen=build_manifest()))
    assert world.states() == [("Refused", "BuildRefused")]


async def test_an_exhausted_quota_is_waited_for(world: TriggerWorld) -> None:
    full = Refused("QuotaExceeded", "exceeded quota")
    world.kubernetes.refuse = lambda kind, _: full if kind.plural == "clusterbuilds" else None
    commit = world.push("one", oxygen=build_manifest())
    await world.take(push_body(commit))
    with pytest.raises(Retry, match="quota"):
        await world.step()
    world.kubernetes.refuse = lambda _kind, _body: None
    await world.settle()
    assert world.commit_of() == commit


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"ref": "refs/heads/other"}, "NoRule"),
        ({"ref": "refs/tags/v1"}, "NoRule"),
        ({"ref_protected": False}, "RefNotProtected"),
        ({"push_options": {"ci": {"skip": True}}}, "SkipRequested"),
        ({"object_kind": "issue"}, "OtherEvent"),
        ({"project": {"id": 8, "path_with_namespace": "hpc/other"}}, "OtherProject"),
        ({"after": "0" * 40, "checkout_sha": None}, "RefDeleted"),
        ({"object_kind": None}, "InvalidWebhook"),
        ({"ref": "main"}, "InvalidWebhook"),
        ({"checkout_sha": "no commit"}, "InvalidWebhook"),
    ],
)
async def test_an_event_that_leads_to_nothing_is_answered_with_2xx_and_why(
    world: TriggerWorld, changes: dict[str, Any], outcome: str
) -> None:
    commit = world.push("one", oxygen=build_manifest())
    status, text = await world.deliver(push_body(commit, **changes))
    assert (status, text.startswith("ignored: ")) == (200, True)
    assert world.deps.metrics.registry.get_sample_value("bessemer_webhooks_total", {"outcome": outcome}) == 1
    assert world.records() == {}


async def test_the_events_of_a_project_count_under_the_name_that_it_has_now(world: TriggerWorld) -> None:
    """VirtusLab/git-machete#1212, gitpod-io/gitpod#1695: of a project that was renamed or moved, GitLab redirects what
    is read.
    """
    commit = world.push("one", oxygen=build_manifest())
    moved = {"id": world.repository.project_id, "path_with_namespace": "hpc/renamed"}
    status, text = await world.deliver(push_body(commit, project=moved))
    assert (status, text.startswith("recorded")) == (200, True)
    await world.settle()
    assert world.commit_of() == commit
    other = {"id": world.repository.project_id + 1, "path_with_namespace": "hpc/renamed"}
    assert (await world.deliver(push_body(commit, project=other)))[1].startswith("ignored")
    nameless = {"id": world.repository.project_id + 1, "path_with_namespace": None}
    assert (await world.deliver(push_body(commit, project=nameless)))[1].startswith("known")


async def test_what_the_event_claims_of_protection_does_not_count(world: TriggerWorld) -> None:
    world.repository.unprotected.add(MAIN)
    await receive(world, world.push("one", oxygen=build_manifest()), ref_protected=True)
    assert (world.build(), world.states()) == (None, [("Skipped", "RefNotProtected")])


async def test_a_missing_word_of_protection_is_looked_up(world: TriggerWorld) -> None:
    commit = world.push("one", oxygen=build_manifest())
    assert await receive(world, commit, ref_protected=None) == "Taken"
    assert world.commit_of() == commit


@pytest.mark.parametrize("message", ["a [skip ci]", "[CI SKIP]\n\nmore", "x\n[ci-skip]"])
async def test_a_commit_that_asks_for_no_pipeline_leads_to_none(world: TriggerWorld, message: str) -> None:
    await receive(world, world.push("one", message=message, oxygen=build_manifest()))
    assert world.states() == [("Skipped", "SkipRequested")]


async def test_a_tag_builds_the_commit_that_it_points_at(world: TriggerWorld) -> None:
    await world.apply(rules=[{"name": "release", "tag": {"tags": ["release/*"]}}])
    ref = "refs/tags/release/1.0"
    commit = world.push("one", ref, oxygen=build_manifest())
    await receive(world, commit, ref, after=name_commit("the tag itself"))
    assert world.commit_of() == commit
    assert world.status()["lastEvent"] == f"tag release/1.0 {commit[:12]}"


async def test_only_the_rule_whose_files_have_changed_holds(world: TriggerWorld) -> None:
    push = {"branches": ["main"]}
    await world.apply(
        rules=[
            {"name": "neon", "push": push, "paths": ["clusters/neon.yaml"]},
            {"name": "oxygen", "push": push, "paths": ["clusters/ox*.yaml"]},
        ]
    )
    first = world.push("one", oxygen=build_manifest(), neon=build_manifest("neon", **NEON))
    await receive(world, first)
    assert world.status()["events"][0]["rule"] == "neon", "of a new branch there is no list of changed files"
    world.end_build()
    world.end_build("neon")
    second = world.push("two", oxygen=build_manifest(onDelete="PowerOff"))
    await receive(world, second, before=first)
    assert world.status()["events"][0]["rule"] == "oxygen"
    world.end_build()
    world.end_build("neon")
    await receive(world, world.push("three", readme=b"kind: no"), before=second)
    assert world.states()[-1] == ("Skipped", "PathsUnchanged")


async def test_mode_plan_checks_and_builds_nothing(world: TriggerWorld) -> None:
    await world.apply(rules=[{"name": "check", "push": {"branches": ["*"]}, "mode": "Plan"}])
    await receive(world, world.push("one", oxygen=build_manifest()))
    assert (world.build(), world.states()) == (None, [("Planned", "Planned")])
    await receive(world, world.push("two", oxygen=build_manifest(**GPU)))
    assert world.states()[-1] == ("Refused", "NotAllowed")


NEON: dict[str, Any] = {
    "management": {"host": "oxygen21"},
    "compute": {"hosts": "oxygen[22-25]"},
}
ALLOW = {
    "machines": ["oxygen[1-65]"],
    "macs": ["52:54:00"],
    "networks": ["10.77.0.0/24", "10.141.0.0/16"],
    "sshHosts": ["rack"],
    "bootHosts": ["rack", "10.77.0.1"],
    "bootUsers": ["root"],
    "bootDirectories": ["/srv/http/boot"],
    "power": ["rack", "10.77.0.254"],
    "images": ["http://10.77.0.1/"],
    "secrets": ["oxygen-ssh"],
}


async def test_several_clusters_of_one_event_succeed_or_fail_together(world: TriggerWorld) -> None:
    await receive(world, world.push("one", oxygen=build_manifest(), neon=build_manifest("neon", **NEON)))
    assert world.status()["events"][0]["builds"] == ["neon", "oxygen"]
    world.end_build()
    await world.settle()
    assert world.states() == [("Building", "Applied")]
    world.end_build("neon", ready=False)
    await world.settle()
    assert world.states() == [("Failed", "InstallFailed")]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"oxygen": b"a: ["}, "is no YAML"),
        ({"oxygen": b"\xff"}, "is no text in UTF-8"),
        ({"oxygen": b"kind: Pod"}, "may contain objects of kind ClusterBuild"),
        ({"oxygen": build_manifest(), "neon": build_manifest()}, "ClusterBuild oxygen is there more than once"),
        ({"oxygen": build_manifest(color="red")}, "spec.color: there is no such field"),
        ({"oxygen": build_manifest(compute={"maxConcurrent": 0})}, "spec.compute.maxConcurrent: Input should be"),
        ({"oxygen": with_metadata("namespace: kube-system")}, "only lab, the"),
        (
            {"oxygen": with_metadata("finalizers: [a/b]")},
            "finalizers can't be set",
        ),
        (
            {"oxygen": with_metadata("annotations: {bessemer.dev/abort: 'true'}")},
            "bessemer.dev/abort is reserved",
        ),
        *(
            ({"oxygen": with_metadata(f"{member}: {{{key}: x}}")}, f"{key} is reserved")
            for member in ("labels", "annotations")
            for key in (
                "bessemer.dev/trigger",
                "x.bessemer.dev/y",
                "Bessemer.dev/y",
                "applyset.kubernetes.io/part-of",
                "app.kubernetes.io/managed-by",
                "x.k8s.io/y",
            )
        ),
        ({"oxygen": build_manifest("../x")}, "metadata.name must be a DNS name"),
    ],
)
async def test_a_file_that_is_no_manifest_refuses_the_event(
    world: TriggerWorld, files: dict[str, Any], message: str
) -> None:
    await receive(world, world.push("one", **files))
    assert world.states() == [("Refused", "InvalidManifest")]
    assert message in world.status()["events"][0]["message"]
    assert world.build() is None


async def test_a_commit_without_manifests_leads_to_nothing(world: TriggerWorld) -> None:
    world.repository.push(MAIN, name_commit("one"), {"README.md": b"x"})
    await receive(world, name_commit("one"))
    assert world.states() == [("Skipped", "NoManifest")]


async def test_a_later_event_waits_for_the_running_build(world: TriggerWorld) -> None:
    first = world.push("one", oxygen=build_manifest())
    await receive(world, first)
    second = world.push("two", oxygen=build_manifest(onDelete="PowerOff"))
    await receive(world, second)
    assert world.commit_of() == first
    assert world.states() == [("Building", "Applied"), ("Queued", "Queued")]
    assert world.status()["events"][0]["position"] == 1
    world.end_build()
    await world.settle()
    assert world.commit_of() == second
    assert world.states() == [("Succeeded", "Verified"), ("Building", "Applied")]


async def test_a_queued_event_whose_branch_is_not_protected_any_more_builds_nothing(world: TriggerWorld) -> None:
    first = world.push("one", oxygen=build_manifest())
    await receive(world, first)
    await receive(world, world.push("two", oxygen=build_manifest(onDelete="PowerOff")))
    world.pass_time(3600)
    world.repository.unprotected.add(MAIN)
    world.end_build()
    await world.settle()
    assert world.commit_of() == first
    assert world.states() == [("Succeeded", "Verified"), ("Skipped", "RefNotProtected")]


async def test_a_queued_event_whose_branch_moved_on_leaves_the_queue(world: TriggerWorld) -> None:
    await receive(world, world.push("one", oxygen=build_manifest()))
    await receive(world, world.push("two", oxygen=build_manifest(onDelete="PowerOff")))
    third = world.push("three", oxygen=build_manifest())
    await receive(world, third)
    assert world.states()[1] == ("Superseded", "Superseded")
    world.end_build()
    await world.settle()
    assert world.commit_of() == third


async def test_forbid_refuses_what_would_have_to_wait(world: TriggerWorld) -> None:
    await world.apply(concurrency="Forbid")
    first = world.push("one", oxygen=build_manifest())
    await receive(world, first)
    await receive(world, world.push("two", oxygen=build_manifest(onDelete="PowerOff")))
    world.end_build()
    await world.settle()
    assert world.commit_of() == first
    assert world.states() == [("Succeeded", "Verified"), ("Refused", "BuildInProgress")]


async def test_replace_aborts_the_running_build_first(world: TriggerWorld) -> None:
    await world.apply(concurrency="Replace")
    first = world.push("one", oxygen=build_manifest())
    await receive(world, first)
    second = world.push("two", oxygen=build_manifest(onDelete="PowerOff"))
    await receive(world, second)
    annotations = (world.build() or {})["metadata"]["annotations"]
    assert (world.commit_of(), annotations["bessemer.dev/abort"][:12]) == (first, "replaced-by-")
    world.end_build(ready=False, reason="Aborted")
    await world.settle()
    assert world.commit_of() == second
    assert "bessemer.dev/abort" not in (world.build() or {})["metadata"]["annotations"]
    assert world.states() == [("Superseded", "Replaced"), ("Building", "Applied")]


@pytest.mark.parametrize(("prune", "left"), [("Keep", True), ("Delete", False)])
async def test_a_manifest_that_is_removed_is_pruned_on_request(world: TriggerWorld, prune: str, left: bool) -> None:
    await world.apply(prune=prune)
    await receive(world, world.push("one", oxygen=build_manifest(), neon=build_manifest("neon", **NEON)))
    world.end_build()
    world.end_build("neon")
    await receive(world, world.push("two", neon=None))
    assert (world.build("neon") is not None) == left
    assert world.build() is not None


@pytest.mark.parametrize(("on_delete", "left"), [("Keep", True), ("Delete", False)])
async def test_a_deleted_trigger_keeps_or_deletes_its_builds(world: TriggerWorld, on_delete: str, left: bool) -> None:
    await world.apply(onDelete=on_delete)
    await receive(world, world.push("one", oxygen=build_manifest()))
    world.kubernetes.mark_deleted(world.kubernetes.objects["buildtriggers", *KEY])
    await world.settle()
    assert ("buildtriggers", *KEY) not in world.kubernetes.objects
    assert (world.build() is not None) == left


async def test_a_suspended_trigger_records_and_builds_later(world: TriggerWorld) -> None:
    await world.apply(suspend=True)
    commit = world.push("one", oxygen=build_manifest())
    await receive(world, commit)
    assert (world.build(), world.states()) == (None, [("Waiting", "Suspended")])
    assert world.condition("Ready") == ("False", "Suspended")
    await world.apply()
    await world.settle()
    assert world.commit_of() == commit


async def test_the_latest_event_is_handled_again_on_request_and_once(world: TriggerWorld) -> None:
    await receive(world, world.push("one", oxygen=build_manifest(**GPU)))
    await world.apply(allow={**ALLOW, "machines": ["oxygen[1-65]", "evil[2-5]"]})
    world.kubernetes.edit("buildtriggers", *KEY, {"metadata": {"annotations": {"bessemer.dev/again": "1"}}})
    world.pass_time(1)
    await world.settle()
    assert world.states() == [("Refused", "NotAllowed"), ("Building", "Applied")]
    assert world.status()["handledAgain"] == "1"
    for name in world.records():
        world.kubernetes.objects.pop(("configmaps", KEY[0], name))
    await world.settle()
    assert world.records() == {}


async def test_finished_events_are_forgotten_beyond_the_limit_and_after_their_time(world: TriggerWorld) -> None:
    await world.apply(history={"limit": 2, "ttlSeconds": 3600})
    for number in range(5):
        world.pass_time(1)
        await receive(world, world.push(f"{number}", oxygen=b"no"))
    assert len(world.records()) == 3
    world.pass_time(4000)
    await world.settle()
    assert len(world.records()) == 1, "the latest is kept"


@pytest.mark.parametrize(
    ("error", "reason", "seconds"),
    [
        (GitLabUnavailable("503"), "GitLabUnavailable", 5),
        (RateLimited("429", 30), "RateLimited", 30),
        (AccessTokenRefused("expired"), "AccessTokenRefused", 5),
    ],
)
async def test_a_gitlab_that_fails_delays_and_is_shown(
    world: TriggerWorld, error: Any, reason: str, seconds: float
) -> None:
    commit = world.push("one", oxygen=build_manifest())
    world.repository.error = error
    await world.take(push_body(commit))
    assert await world.step() == pytest.approx(seconds)
    calls = len(world.repository.calls)
    assert world.condition("SourceReachable") == ("False", reason)
    assert world.states() == [("Waiting", reason)]
    await world.settle()
    assert len(world.repository.calls) == calls, "it is not asked before its time"
    world.repository.error = None
    world.pass_time(seconds + 1)
    await world.settle()
    assert world.condition("SourceReachable") == ("True", "Reachable")
    assert world.commit_of() == commit


async def test_a_commit_that_gitlab_does_not_know_yet_is_asked_for_again(world: TriggerWorld) -> None:
    commit = world.push("one", oxygen=build_manifest())
    files = world.repository.commits.pop(commit)
    await receive(world, commit)
    assert world.states() == [("Waiting", "GitLabNotFound")]
    world.repository.commits[commit] = files
    world.pass_time(6)
    await world.settle()
    assert world.commit_of() == commit


async def test_a_commit_that_stays_unknown_ends_the_event(world: TriggerWorld) -> None:
    commit = world.push("one", oxygen=build_manifest())
    world.repository.commits.pop(commit)
    await receive(world, commit)
    for _ in range(4):
        world.pass_time(61)
        await world.settle()
    assert world.states() == [("Refused", "CommitNotFound")]


async def test_what_was_there_before_the_trigger_leads_to_nothing(world: TriggerWorld) -> None:
    await world.restart_operator()
    world.kubernetes.objects.pop(("buildtriggers", *KEY))
    world.push("one", oxygen=build_manifest())
    await world.apply()
    await world.settle()
    assert world.status()["refs"] == [{"project": "", "ref": MAIN, "commit": name_commit("one")}]
    assert (world.build(), world.records()) == (None, {})


async def test_a_push_that_no_webhook_told_is_found_and_built_once(world: TriggerWorld) -> None:
    commit = world.push("one", oxygen=build_manifest())
    world.push("other", "refs/heads/other", oxygen=build_manifest())
    await world.settle()
    assert world.records() == {}
    world.pass_time(601)
    await world.settle()
    assert (world.commit_of(), len(world.records())) == (commit, 1)
    assert await receive(world, commit) == "Known"
    await world.restart_operator()
    await world.settle()
    assert len(world.records()) == 1


async def test_a_push_while_the_operator_was_down_is_found_at_its_start(world: TriggerWorld) -> None:
    commit = world.push("one", oxygen=build_manifest())
    await world.restart_operator()
    await world.settle()
    assert world.commit_of() == commit


async def test_an_access_token_that_ends_soon_is_announced(world: TriggerWorld) -> None:
    assert world.condition("TokenValid") == ("True", "Valid")
    world.repository.expires_at = world.now().replace(day=8)
    world.pass_time(3601)
    await world.settle()
    assert world.condition("TokenValid") == ("False", "ExpiresSoon")


async def test_a_secret_that_is_missing_is_shown_and_nothing_is_sent(world: TriggerWorld) -> None:
    calls = len(world.repository.calls)
    world.kubernetes.objects.pop(("secrets", KEY[0], "gitlab"))
    world.pass_time(700)
    await world.settle()
    assert world.condition("Ready") == ("False", "SecretMissing")
    assert len(world.repository.calls) == calls
    await world.put_secret("gitlab", "glpat-new")
    world.pass_time(6)
    await world.settle()
    assert world.condition("Ready") == ("True", "Listening")


async def test_a_spec_that_can_not_be_read_is_shown(world: TriggerWorld) -> None:
    await world.apply(manifests=["a[".replace("[", "{" + ",b" * 99 + "}")])
    await world.settle()
    assert world.condition("Ready") == ("False", "InvalidSpec")


@pytest.mark.parametrize("headers", [{}, {"X-Gitlab-Token": "wrong"}, {"webhook-signature": "v1,x"}])
async def test_a_sender_that_proves_nothing_records_nothing(world: TriggerWorld, headers: dict[str, str]) -> None:
    commit = world.push("one", oxygen=build_manifest())
    assert (await world.deliver(push_body(commit), headers))[0] == 401
    assert (await world.deliver(push_body(commit), key=(KEY[0], "other")))[0] == 404
    assert world.records() == {}


async def test_a_webhook_that_arrives_before_the_first_pass_is_taken(world: TriggerWorld) -> None:
    await world.restart_operator()
    for word in ("one", "two"):
        commit = world.push(word, oxygen=build_manifest())
        assert (await world.deliver(push_body(commit)))[0] == 200
    assert len(world.records()) == 2


async def test_a_webhook_is_not_answered_with_success_before_the_record_is_durable(world: TriggerWorld) -> None:
    world.kubernetes.refuse = lambda kind, _: Refused("QuotaExceeded", "full") if kind.plural == "configmaps" else None
    commit = world.push("one", oxygen=build_manifest())
    assert (await world.deliver(push_body(commit)))[0] == 503


@pytest.mark.parametrize("orders", list(itertools.permutations(("one", "two", "three"))))
async def test_in_whatever_order_pushes_arrive_the_head_is_built(world: TriggerWorld, orders: tuple[str, ...]) -> None:
    for word in ("one", "two", "three"):
        world.push(word, oxygen=build_manifest())
    for word in orders:
        await receive(world, name_commit(word))
    assert world.commit_of() == name_commit("three")


async def test_a_burst_of_pushes_costs_one_question_and_one_build(world: TriggerWorld) -> None:
    content = build_manifest()
    commits = [world.push(f"{number}", oxygen=content) for number in range(300)]
    asked = len(world.repository.calls)
    for commit in commits:
        assert await world.take(push_body(commit), 0.001) == "Taken"
    await world.settle(2)
    assert world.commit_of() == commits[-1]
    assert world.repository.calls[asked:] == ["get_head", "list_files", "get_file"]
    assert (world.status()["queued"], world.status()["active"]) == (0, 1)


async def test_secrets_that_can_not_be_read_leave_what_is_known_as_it_was(
    world: TriggerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, read = world.kind.deps.memories.get(KEY), world.kubernetes.get_object
    known = memory.reading

    async def fail(kind: Any, namespace: str, name: str) -> Any:
        if kind.plural == "secrets" and name == "hook":
            raise Unavailable("ApiUnavailable", "no answer")
        return await read(kind, namespace, name)

    monkeypatch.setattr(world.kubernetes, "get_object", fail)
    world.pass_time(700)
    with pytest.raises(Unavailable):
        await world.step()
    assert memory.reading is known
    monkeypatch.setattr(world.kubernetes, "get_object", read)
    await world.step()
    assert memory.reading is not known
