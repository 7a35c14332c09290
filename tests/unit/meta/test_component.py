"""The CI component: what its script does, that inputs can't change it, and that its documents know its inputs."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.api.buildtrigger.resource import parse_build_trigger
from bessemer.api.buildtrigger.rules import Job
from bessemer.kinds.buildtrigger.judge import judge_files
from bessemer.kinds.buildtrigger.rules import list_job_rules
from gitlab_simulator.spec import JobSpec
from tests.support.checkout import ROOT
from tests.support.component import render_job

FOLDER = ROOT / "gitlab"
TEXT = (FOLDER / "templates" / "build" / "template.yml").read_text()
SPEC, JOB = yaml.safe_load_all(TEXT)
INPUTS: dict[str, Any] = SPEC["spec"]["inputs"]
BODY: dict[str, Any] = next(iter(JOB.values()))
EXAMPLE = yaml.safe_load((ROOT / "examples" / "gitlab" / ".gitlab-ci.yml").read_text())


def test_scripts_are_constant() -> None:
    assert BODY["script"] == ["bessemer job build"]
    for name in ("script", "after_script"):
        assert not any("$[[" in line for line in BODY[name])


def test_values_of_inputs_are_no_variables_to_expand() -> None:
    given = {name: value for name, value in BODY["variables"].items() if "$[[" in json.dumps(value)}
    open_ones = {name for name, value in given.items() if not isinstance(value, dict) or value["expand"] is not False}
    assert open_ones == {"BESSEMER_AUTH", "GIT_STRATEGY"}, "only inputs with options"
    assert INPUTS["auth"]["options"] == ["id_tokens", "job-token", "kubeconfig"]
    assert INPUTS["git-strategy"]["options"] == ["none", "fetch", "clone"]


def test_every_input_is_used_and_every_used_one_is_declared() -> None:
    assert set(re.findall(r"\$\[\[ inputs\.([a-z-]+) \]\]", TEXT)) == set(INPUTS)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("cluster", ["", "oxygen"], ["a b", "$(id)", "Oxygen\n", "a;b"]),
        ("context", ["", "hpc/agents:lab", "admin@lab"], ["a b", "$(id)", "a\nb"]),
        ("namespace", ["", "lab"], ["a b", "$(id)", "lab\n"]),
        ("manifest", ["", "clusters/oxygen.yaml"], ["a b", "$HOME", "a\nb", "`id`"]),
        (
            "trigger-url",
            ["", "https://b.example.org:8443/v1/triggers/lab/x"],
            ["ftp://a/b", "https://a", "https://a/b?c", "https://u@a/b"],
        ),
    ],
)
def test_odd_values_of_inputs_are_refused_by_gitlab(name: str, good: list[str], bad: list[str]) -> None:
    pattern = INPUTS[name]["regex"].replace("$", r"\Z")
    assert all(re.search(pattern, value) for value in good)
    assert not any(re.search(pattern, value) for value in bad)


@pytest.mark.parametrize(("status", "called"), [("canceled", ["job abort"]), ("success", []), ("failed", [])])
def test_only_a_cancelled_job_aborts_its_build(tmp_path: Path, status: str, called: list[str]) -> None:
    program = tmp_path / "bessemer"
    program.write_text('#!/bin/sh\necho "$@" >> "$CALLS"\n')
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CI_JOB_STATUS": status, "CALLS": str(tmp_path / "calls")}
    for line in BODY["after_script"]:
        subprocess.run(["/bin/sh", "-ec", line], env=environment, check=True)
    calls = (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []
    assert calls == called


def test_the_default_audience_is_that_of_a_rule() -> None:
    assert INPUTS["audience"]["default"] == Job(refs=["main"]).audience


def test_the_readme_has_every_input_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|.*\| (.*) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE))
    assert set(rows) == set(INPUTS)
    for name, about in INPUTS.items():
        default = about.get("default", "required")
        shown = rows[name].strip("`")
        assert shown == str(default).lower() or default in ("", []) or default == shown


def test_the_example_is_a_pipeline_of_gitlab_that_uses_the_component() -> None:
    (include,) = EXAMPLE["include"]
    assert set(include["inputs"]) <= set(INPUTS)
    assert {name for name, about in INPUTS.items() if "default" not in about} <= set(include["inputs"])
    schema = ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]
    file = ROOT / "examples" / "gitlab" / ".gitlab-ci.yml"
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_job_of_the_example_is_rendered_as_the_end_to_end_tests_run_it() -> None:
    job = render_job(EXAMPLE["include"][0]["inputs"])
    assert JobSpec.model_validate(job).timeout == 7200
    assert (job["name"], job["variables"]["BESSEMER_CLUSTER"], job["tags"]) == ("build-oxygen", "oxygen", ["lab"])
    with pytest.raises(ValueError, match="cluster: two words"):
        render_job(EXAMPLE["include"][0]["inputs"] | {"cluster": "two words"})


def test_the_trigger_of_the_example_allows_the_manifest_of_the_example() -> None:
    folder = ROOT / "examples" / "gitlab"
    raw = yaml.safe_load((folder / "trigger.yaml").read_text())
    raw["metadata"] |= {"namespace": "lab", "uid": "1"}
    trigger = parse_build_trigger(raw)
    assert trigger.spec is not None, trigger.spec_error
    (rule,) = list_job_rules(trigger.spec.rules, "refs/heads/main")
    path = "clusters/oxygen.yaml"
    found = judge_files(trigger, trigger.spec, rule, {path: (folder / path).read_bytes()}, "0" * 40)
    assert (found.refusal, [cluster.name for cluster in found.clusters]) == (None, ["oxygen"])
