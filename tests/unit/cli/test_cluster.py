"""The command with a cluster: what it shows of one, and the one line for each way in which there is none."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.cli import completion
from bessemer.cli.completion import find_names
from bessemer.cli.kinds import parse_name
from bessemer.cli.session import open_session
from bessemer.cli.target import Target
from bessemer.errors import Invalid
from bessemer.kinds.clusterbuild.resource import CLUSTER_BUILDS
from bessemer.kube import connect
from tests.unit.cli.api import BUILDS, DEPLOYMENTS, POOLS, Api, open_api, run_command, write_kubeconfig

EVIL = "boom \x1b]0;pwned\x07\x1b[2J\x9b31m\x7f\u202e\u2028[bold]"


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    async with open_api(tmp_path) as api:
        yield api


def build(name: str = "oxygen", namespace: str = "lab", message: str = "it failed") -> dict[str, Any]:
    condition = {"type": "Ready", "status": "False", "reason": "Preflight", "message": message,
                 "lastTransitionTime": "2026-11-23T12:00:00Z"}  # fmt: skip
    phase = {"name": "Preflight", "state": "Failed", "attempt": 2, "pod": "oxygen-preflight-2", "message": message,
             "startTime": "2026-11-23T12:00:00Z", "endTime": "2026-11-23T12:01:30Z"}  # fmt: skip
    status = {"phase": "Failed", "nodes": {"desired": 4}, "phases": [phase], "conditions": [condition]}
    return {"apiVersion": "bessemer.dev/v1alpha1", "kind": "ClusterBuild", "status": status,
            "metadata": {"name": name, "namespace": namespace, "uid": "u", "resourceVersion": "7",
                         "managedFields": [{"manager": "kopf"}]}}  # fmt: skip


def pool(name: str = "ci") -> dict[str, Any]:
    return {"apiVersion": "bessemer.dev/v1alpha1", "kind": "RunnerPool", "status": {"pending": 3, "running": 2},
            "metadata": {"name": name, "namespace": "lab", "uid": "v", "resourceVersion": "8"}}  # fmt: skip


async def test_status_has_a_line_for_each_object(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api.serve_list(BUILDS, build())
    api.serve_list(POOLS, pool())
    assert await run_command(monkeypatch, "status", "--kubeconfig", str(api.kubeconfig)) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "READY", "REASON", "DETAIL"]
    assert first.split(maxsplit=3) == ["clusterbuild/oxygen", "False", "Preflight", "Failed, 0/4 nodes ready"]
    assert second.split()[:2] == ["runnerpool/ci", "Unknown"]
    assert "3 pending; pods: 2 running, 0 starting, 0 idle" in second


async def test_options_of_the_cluster_may_stand_before_the_command(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api.serve_list(BUILDS.replace("lab", "other"), build(namespace="other"))
    options = ["--kubeconfig", str(api.kubeconfig), "-n", "other"]
    assert await run_command(monkeypatch, *options, "status", "cb/oxygen", "--context", "x") == 0
    assert "clusterbuild/oxygen in other: Failed" in capsys.readouterr().out


async def test_all_namespaces_have_a_column(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api.serve_list(BUILDS.replace("/namespaces/lab", ""), build(), build("neon", "other"))
    api.serve_list(POOLS.replace("/namespaces/lab", ""))
    assert await run_command(monkeypatch, "status", "-A", "--kubeconfig", str(api.kubeconfig)) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["NAMESPACE", "NAME"], ["lab", "clusterbuild/oxygen"], ["other", "clusterbuild/neon"],
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["json", "yaml"])
async def test_objects_are_printed_as_the_api_has_them(
    form: str, api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api.serve_list(BUILDS, build(message=EVIL))
    api.serve_list(POOLS, pool())
    where = ["-o", form, "--kubeconfig", str(api.kubeconfig)]
    assert await run_command(monkeypatch, "status", *where) == 0
    out = capsys.readouterr().out
    assert all(character.isprintable() or character == "\n" for character in out)
    assert out.isascii()
    whole = yaml.safe_load(out) if form == "yaml" else json.loads(out)
    assert (whole["apiVersion"], whole["kind"]) == ("v1", "List")
    assert [raw["kind"] for raw in whole["items"]] == ["ClusterBuild", "RunnerPool"]
    assert await run_command(monkeypatch, "status", "runnerpools/ci", *where) == 0
    assert yaml.safe_load(capsys.readouterr().out) == pool()
    assert await run_command(monkeypatch, "status", "oxygen", *where) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert "managedFields" not in found["metadata"]
    assert found["status"]["phases"][0]["message"] == EVIL


async def test_no_message_is_cut_or_wrapped_where_the_output_is_no_terminal(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    message = " ".join(f"word{number}" for number in range(200))
    api.serve_list(BUILDS, build(message=message + EVIL))
    assert await run_command(monkeypatch, "status", "oxygen", "--kubeconfig", str(api.kubeconfig)) == 0
    out = capsys.readouterr().out
    (phase,) = [line for line in out.splitlines() if line.startswith("Preflight")]
    assert phase.split(maxsplit=4)[:4] == ["Preflight", "Failed", "2", "1m30s"]
    assert message in phase
    assert all(line == line.rstrip() for line in out.splitlines())
    assert all(character.isprintable() or character == "\n" for character in out)


async def test_a_list_without_objects_is_said_on_stderr(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api.serve_list(BUILDS)
    api.serve_list(POOLS)
    assert await run_command(monkeypatch, "status", "--kubeconfig", str(api.kubeconfig)) == 0
    assert capsys.readouterr() == (
        "",
        "There is no clusterbuild and no runnerpool and no buildtrigger in namespace lab.\n",
    )


async def test_logs_that_there_are_are_listed(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api.serve_list(BUILDS, build())
    where = ["--kubeconfig", str(api.kubeconfig)]
    assert await run_command(monkeypatch, "logs", "cb/oxygen", "--list", *where) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "Preflight", "Failed", "2", "2026-11-23T12:00:00Z", "2026-11-23T12:01:30Z", "oxygen-preflight-2",
    ]  # fmt: skip
    assert await run_command(monkeypatch, "logs", "oxygen", "--list", "-o", "json", *where) == 0
    assert json.loads(capsys.readouterr().out) == {
        "kind": "ClusterBuild", "namespace": "lab", "name": "oxygen",
        "phases": [{"name": "Preflight", "state": "Failed", "attempt": 2, "pod": "oxygen-preflight-2",
                    "startTime": "2026-11-23T12:00:00Z", "endTime": "2026-11-23T12:01:30Z"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["logs", "oxygen", "-o", "json"], "-o is for --list"),
        (["logs", "oxygen", "--list", "-f"], "--list takes no phase"),
        (["logs", "oxygen", "Boot"], "Boot: the phases are Preflight, BootManagement"),
        (["logs", "rp/ci"], "rp/ci: a clusterbuild is wanted"),
        (["status", "-A", "oxygen"], "leave out -A or the names"),
        (
            ["pause", "oxygen/"],
            "oxygen/: clusterbuild/NAME (cb/NAME) or runnerpool/NAME (rp/NAME) or buildtrigger/NAME (bt/NAME) is "
            "wanted",
        ),
        (["watch", "oxygen", "-o", "xml"], "xml"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_a_cluster_is_asked(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    assert await run_command(monkeypatch, *arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert said in error
    assert "nonexistent" not in error


@pytest.mark.parametrize(
    ("text", "singular"),
    [
        ("oxygen", "clusterbuild"), ("clusterbuild/oxygen", "clusterbuild"), ("cb/oxygen", "clusterbuild"),
        ("clusterbuilds/oxygen", "clusterbuild"), ("clusterbuild.bessemer.dev/oxygen", "clusterbuild"),
        ("ClusterBuild/oxygen", "clusterbuild"), ("rp/oxygen", "runnerpool"),
        ("runnerpools.bessemer.dev/oxygen", "runnerpool"),
    ],
)  # fmt: skip
def test_a_name_is_read_as_kubectl_reads_it(text: str, singular: str) -> None:
    kind, name = parse_name(text)
    assert (kind.singular, name) == (singular, "oxygen")


FORBIDDEN = 'clusterbuilds.bessemer.dev "oxygen" is forbidden: User "jane" cannot get resource "clusterbuilds"'


@pytest.mark.parametrize(
    ("answer", "said", "to_do"),
    [
        ((404, {"reason": "NotFound"}), "has no clusterbuilds of bessemer.dev/v1alpha1", "install Bessemer's CRDs"),
        ((403, {"reason": "Forbidden", "message": FORBIDDEN}), FORBIDDEN, "ask for a RoleBinding"),
        ((401, {"reason": "Unauthorized", "message": "Unauthorized"}), "not take your credentials", "log in again"),
        ((503, {"message": "etcd is down"}), "gives no answer (etcd is down)", "check that it runs"),
        ((200, ["x"]), "the answer is no object", "check that it runs"),
        ((403, {"reason": "Forbidden", "message": EVIL}), "boom", "ask for a RoleBinding"),
    ],
)
async def test_a_cluster_that_refuses_gives_one_line_that_says_what_to_do(
    answer: tuple[int, Any],
    said: str,
    to_do: str,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    api.default = answer
    for command in (["watch", "oxygen"], ["status"], ["status", "oxygen"], ["logs", "oxygen"], ["pause", "oxygen"]):
        assert await run_command(monkeypatch, *command, "--kubeconfig", str(api.kubeconfig)) == 2
        out, error = capsys.readouterr()
        assert out == ""
        assert error.startswith("error: ")
        assert said in error
        assert to_do in error
        assert error.count("\n") == 1
        assert error[:-1].isprintable()


async def test_a_cluster_that_can_not_be_reached_gives_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9")
    assert await run_command(monkeypatch, "status", "--kubeconfig", str(tmp_path / "kubeconfig")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: http://127.0.0.1:9 gives no answer (ClientConnectorError Cannot connect to host ")
    assert "--context or --kubeconfig" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", "a: b", "current-context: x", "\0", "\ud800", "current-context: [x]\ncontexts: 5",
     "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {}}]"],
)  # fmt: skip
async def test_a_kubeconfig_that_is_none_gives_one_line(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert await run_command(monkeypatch, "status", "--kubeconfig", str(path)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: no way to a Kubernetes cluster is configured in {path}: ")
    assert error.endswith("; set KUBECONFIG, or name the file with --kubeconfig\n")
    assert error.count("\n") == 1


async def test_an_object_that_is_missing_is_named_with_its_namespace(api: Api) -> None:
    api.serve_list(BUILDS)
    with pytest.raises(Invalid, match="there is no ClusterBuild neon in namespace lab"):
        async with open_session(Target(kubeconfig=str(api.kubeconfig))) as session:
            await session.require(CLUSTER_BUILDS, "ClusterBuild", "neon")


async def test_who_may_get_but_not_list_is_told_that_the_object_is_missing(api: Api) -> None:
    api.answers[BUILDS] = (403, {"reason": "Forbidden"})
    with pytest.raises(Invalid, match="there is no ClusterBuild neon in namespace lab"):
        async with open_session(Target(kubeconfig=str(api.kubeconfig))) as session:
            await session.require(CLUSTER_BUILDS, "ClusterBuild", "neon")


@pytest.mark.parametrize(
    ("current", "context", "namespace"),
    [("", "hpc/agents:lab", "lab"), ("hpc/agents:lab", None, "lab"), ("hpc/agents:lab", "bare", "default"),
     ("", None, None), ("bare", "missing", None)],
)  # fmt: skip
def test_the_namespace_is_that_of_the_chosen_context_also_where_none_is_current(
    tmp_path: Path, current: str, context: str | None, namespace: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitLab's agent gives jobs a kubeconfig without a current context, in the environment."""
    contexts = [
        {"name": "hpc/agents:lab", "context": {"cluster": "c", "user": "u", "namespace": "lab"}},
        {"name": "bare", "context": {"cluster": "c", "user": "u"}},
    ]
    document = {"apiVersion": "v1", "kind": "Config", "contexts": contexts, "current-context": current}
    document |= {"clusters": [{"name": "c", "cluster": {"server": "https://c"}}], "users": [{"name": "u", "user": {}}]}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    monkeypatch.setattr(connect, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))  # read from the environment at its import
    for named in (str(path), None):
        if namespace is None:
            with pytest.raises(Invalid, match="context"):
                connect.get_default_namespace(context, named)
        else:
            assert connect.get_default_namespace(context, named) == namespace


async def test_in_a_pod_the_namespace_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(connect, "OWN_NAMESPACE", tmp_path / "namespace")
    assert connect.get_default_namespace(None, None) == "default"
    (tmp_path / "namespace").write_text("lab\n")
    assert connect.get_default_namespace(None, None) == "lab"


async def test_the_version_names_the_operators_of_the_cluster(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {"app.kubernetes.io/version": "0.9", "helm.sh/chart": "bessemer-0.9"}
    metadata = {"name": "b", "namespace": "bessemer", "labels": labels}
    other = {"name": "c", "namespace": "bessemer", "labels": {"helm.sh/chart": "bessemers-1"}}
    pod = {"spec": {"containers": [{"name": "operator", "image": "registry/bessemer:0.9"}]}}
    api.answers[DEPLOYMENTS] = (
        200,
        {"items": [{"metadata": metadata, "spec": {"template": pod}}, {"metadata": other}]},
    )
    where = ["--kubeconfig", str(api.kubeconfig)]
    assert await run_command(monkeypatch, "version", *where) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == ["operator", "0.9", "bessemer", "registry/bessemer:0.9"]
    assert await run_command(monkeypatch, "version", "-o", "json", *where) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["operators"] == [
        {"name": "b", "namespace": "bessemer", "version": "0.9", "image": "registry/bessemer:0.9"}
    ]
    assert found["problem"] == ""


async def test_the_version_of_the_command_is_shown_where_no_operator_can_be_seen(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api.default = (403, {"reason": "Forbidden", "message": EVIL})
    assert await run_command(monkeypatch, "version", "--kubeconfig", str(api.kubeconfig)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("client ")
    assert lines[2].startswith("operator: not known: you may not do this")
    assert [path.partition("?")[0] for path in api.paths] == [
        DEPLOYMENTS, DEPLOYMENTS.replace("/deployments", "/namespaces/lab/deployments"),
    ]  # fmt: skip


async def complete(seconds: str, *words: str) -> str:
    """Return what kubectl is told when the words after ``kubectl bessemer`` are these; none waits longer."""
    code = (
        "import sys; from bessemer.cli import app, completion\n"
        "completion.SECONDS = float(sys.argv.pop(1)); app.complete_for_kubectl()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, seconds, *words, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


@pytest.mark.parametrize(
    ("incomplete", "names"),
    [
        ("", ["neon", "oxygen", "rp/ci"]),
        ("o", ["oxygen"]),
        ("cb/", ["cb/neon", "cb/oxygen"]),
        ("clusterb", ["clusterbuild/neon", "clusterbuild/oxygen"]),
        ("clusterbuilds/ox", ["clusterbuilds/oxygen"]),
        ("rp", ["rp/ci"]),
        ("runner", ["runnerpool/ci"]),
        ("pod/", []),
    ],
)
async def test_names_are_completed_with_their_kinds(incomplete: str, names: list[str], api: Api) -> None:
    api.serve_list(BUILDS, build(), build("neon"))
    api.serve_list(POOLS, pool())
    target = Target(kubeconfig=str(api.kubeconfig))
    assert await find_names(target, incomplete, ("clusterbuild", "runnerpool")) == names


def test_a_completion_without_a_cluster_is_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(completion, "SECONDS", 600)  # at its end the process would end
    target = Target(kubeconfig=str(tmp_path / "none"))
    assert completion.list_names(target, "", ("clusterbuild",)) == []


async def test_kubectl_is_told_names_with_the_options_that_were_typed_and_that_they_are_no_files(
    api: Api,
) -> None:
    api.serve_list(BUILDS.replace("lab", "other"), build())
    assert await complete("600", "logs", "-n", "other", "--kubeconfig", str(api.kubeconfig), "") == ("oxygen\n:4\n")


async def test_kubectl_is_told_commands_and_files_of_a_plan() -> None:
    assert await complete("600", "ver") == "version\tShow versions of command and operator.\n:4\n"
    assert "..." not in await complete("600", "")
    assert await complete("600", "plan", "") == ":0\n"


async def test_a_cluster_that_never_answers_does_not_keep_a_shell_waiting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections, and reads nothing
        write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert await complete("0.5", "logs", "--kubeconfig", str(tmp_path / "kubeconfig"), "") == ""
