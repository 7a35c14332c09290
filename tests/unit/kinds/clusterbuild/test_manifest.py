"""The pods, ConfigMaps and Secrets of a build: what they are given, and what they are not."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bessemer.api.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.api.clusterbuild.status import NodesStatus
from bessemer.api.phase_contract import PhaseInput, PhaseName
from bessemer.engine.settings import Settings
from bessemer.kinds.clusterbuild import checkout
from bessemer.kinds.clusterbuild.keys import create_keys, read_progress_token, read_public_key, read_seed
from bessemer.kinds.clusterbuild.nodes import carry_over
from bessemer.kinds.clusterbuild.objects import build_input, build_input_config_map, build_phase_pod
from bessemer.kinds.clusterbuild.plan import StartAttempt
from bessemer.kube.protocol import Object
from bessemer.kube.secretdata import read_secret
from bessemer.machines.secrets import parse_login_key
from bessemer.machines.secrets import read_progress_token as read_mounted_token
from tests.support.world import manifest

SETTINGS = Settings(image="localhost/bessemer:1", namespace="sys", identity="me", image_pull_secrets="registry,other")
START = StartAttempt(PhaseName.BOOT_COMPUTE, 3, "digest")
TOLD = {"data": {"input.json": "{}"}}
CONFIGURE = StartAttempt(PhaseName.CONFIGURE_SERVICES, 1, "digest")
PLAYBOOKS = {"repository": "https://example.org/site.git", "commit": "0" * 40, "services": "site.yml"}


def build(**changes: Any) -> ClusterBuild:
    raw = manifest(**changes)
    raw["metadata"] |= {"namespace": "lab", "uid": "uid-1", "generation": 1, "resourceVersion": "1"}
    return parse_cluster_build(raw)


def pod(start: StartAttempt = START, /, **changes: Any) -> Object:
    return build_phase_pod(build(**changes), start, SETTINGS, TOLD)


def test_a_phase_pod_gets_no_more_than_it_needs() -> None:
    raw = pod(CONFIGURE, configuration={"playbooks": PLAYBOOKS})
    spec = raw["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["restartPolicy"] == "Never"
    for container in (*spec["containers"], *spec["initContainers"]):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert writable <= {"scratch", *(["playbooks"] if container["name"] == "playbooks" else [])}


def test_phase_and_checkout_use_the_sites_proxies() -> None:
    site = replace(SETTINGS, https_proxy="http://proxy:3128", no_proxy=".svc,10.96.0.1")
    spec = build_phase_pod(build(configuration={"playbooks": PLAYBOOKS}), CONFIGURE, site, TOLD)["spec"]
    wanted = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".svc,10.96.0.1"}
    for container in (*spec["containers"], *spec["initContainers"]):
        assert wanted.items() <= {item["name"]: item["value"] for item in container["env"]}.items()
    assert "PROXY" not in str(pod(CONFIGURE, configuration={"playbooks": PLAYBOOKS}))


def test_a_phase_pod_can_be_found_and_is_held_until_its_result_is_taken() -> None:
    metadata = pod()["metadata"]
    assert metadata["name"] == "oxygen-boot-compute-3"
    assert metadata["labels"]["bessemer.dev/build"] == "oxygen"
    assert metadata["labels"]["bessemer.dev/phase"] == "BootCompute"
    assert metadata["labels"]["bessemer.dev/attempt"] == "3"
    assert metadata["finalizers"] == ["bessemer.dev/result"]
    assert metadata["ownerReferences"][0]["uid"] == "uid-1"


def test_the_users_wishes_reach_the_pod() -> None:
    spec = pod(priorityClassName="urgent", deadlines={"phaseSeconds": 77})["spec"]
    assert (spec["priorityClassName"], spec["activeDeadlineSeconds"]) == ("urgent", 77)
    assert spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "other"}]
    key = next(volume for volume in spec["volumes"] if volume["name"] == "ssh")["secret"]
    assert (key["secretName"], key["optional"]) == ("oxygen-ssh", True)
    assert key["items"] == [{"key": "ssh-privatekey", "path": "ssh-privatekey"}]


def test_nothing_of_a_repositorys_url_becomes_shell_code() -> None:
    evil = "https://example.org/;rm${IFS}-rf"
    raw = pod(CONFIGURE, configuration={"playbooks": {**PLAYBOOKS, "repository": evil}})
    container = raw["spec"]["initContainers"][0]
    assert all(evil not in word for word in container["command"])
    assert {"name": "REPOSITORY", "value": evil} in container["env"]


def test_only_the_checkout_gets_the_login_of_the_git_server() -> None:
    spec = pod(CONFIGURE, configuration={"playbooks": {**PLAYBOOKS, "loginSecretName": "git"}})["spec"]
    assert {"name": "login", "secret": {"secretName": "git", "defaultMode": 0o440}} in spec["volumes"]
    assert "login" in {mount["name"] for mount in spec["initContainers"][0]["volumeMounts"]}
    assert "login" not in {mount["name"] for mount in spec["containers"][0]["volumeMounts"]}


@pytest.mark.parametrize("phase", [phase for phase in PhaseName if phase not in checkout.PHASES])
def test_a_phase_without_playbooks_does_not_depend_on_the_git_server(phase: PhaseName) -> None:
    spec = pod(StartAttempt(phase, 1, "digest"), configuration={"playbooks": PLAYBOOKS})["spec"]
    assert "initContainers" not in spec
    assert not {volume["name"] for volume in spec["volumes"]} & {"playbooks", "login"}


def test_what_a_phase_is_told_can_be_read_back_by_it() -> None:
    cluster_build = build()
    assert cluster_build.spec is not None
    nodes = carry_over(cluster_build.spec, NodesStatus())
    config_map = build_input_config_map(cluster_build, build_input(cluster_build, nodes, START, "http://op:8080/"))
    told = PhaseInput.model_validate_json(config_map["data"]["input.json"])
    assert told.spec == cluster_build.spec
    assert told.progress_url == "http://op:8080/v1/progress/lab/oxygen"
    assert (told.attempt, told.power_off, told.remove_hosts) == (3, False, None)
    assert config_map["immutable"] is True
    assert json.loads(config_map["data"]["input.json"])["spec"]["compute"]["minReady"] == "75%"
    (container,) = build_phase_pod(cluster_build, START, SETTINGS, config_map)["spec"]["containers"]
    digest = hashlib.sha256(config_map["data"]["input.json"].encode()).hexdigest()
    assert {"name": "BESSEMER_INPUT_SHA256", "value": digest} in container["env"], "and it follows no other"


def test_nothing_is_rendered_without_a_spec() -> None:
    raw = manifest()
    raw["metadata"] |= {"namespace": "lab", "uid": "u"}
    raw["spec"] = {}
    broken = parse_cluster_build(raw)
    with pytest.raises(ValueError, match="without a spec"):
        build_phase_pod(broken, START, SETTINGS, TOLD)
    with pytest.raises(ValueError, match="without a spec"):
        build_input(broken, NodesStatus(), START, "")


def test_the_keys_that_are_made_are_those_that_the_phases_read() -> None:
    keys = create_keys(with_ssh_key=True)
    secret = read_secret({"data": keys.to_secret_data()}, "oxygen-bessemer")
    assert keys.ssh_private_key is not None
    assert read_public_key(secret) == parse_login_key(keys.ssh_private_key, "test").public
    assert read_progress_token(secret) == keys.progress_token
    assert read_seed(secret) == keys.seed
    assert len(keys.seed) == 32
    assert keys.progress_token not in repr(keys)
    assert "ssh-privatekey" not in create_keys(with_ssh_key=False).to_secret_data()


@pytest.mark.parametrize("written", [b"tok", b"tok\n", b"tok\r\n", b" tok ", b"\n", b" ", b"", b"\xff\xfet\0"])
def test_operator_and_phases_read_the_same_token_of_progress_or_none(written: bytes, tmp_path: Path) -> None:
    (tmp_path / "progress-token").write_bytes(written)
    secret = read_secret({"data": {"progress-token": b64encode(written).decode()}}, "oxygen-bessemer")
    known = read_progress_token(secret)
    assert known == ("tok" if b"tok" in written else None), "an empty one would be anyone's"
    assert known is None or known == read_mounted_token(tmp_path)
    read_mounted_token(tmp_path)
