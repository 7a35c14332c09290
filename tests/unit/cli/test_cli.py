"""The command: plans, what watch tells and how it exits, orders, errors in one line."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.config import kube_config
from rich.console import Console

from bessemer.api.phase_contract import NodeGroup, NodeState, PhaseName, Progress
from bessemer.api.wellknown import LEADER_LEASE
from bessemer.cli import app as cli
from bessemer.cli import logs as logs_module
from bessemer.cli.annotate import Order, patch_annotations
from bessemer.cli.logs import copy_logs
from bessemer.cli.plan import print_plan
from bessemer.cli.uninstall import delete_finalizers, delete_leases
from bessemer.console import session as session_module
from bessemer.console.session import Session
from bessemer.errors import Invalid
from bessemer.kinds.clusterbuild.view import watch as watch_module
from bessemer.kinds.clusterbuild.view.status import build_view
from bessemer.kinds.clusterbuild.view.watch import watch_build
from bessemer.kube.protocol import LEASES, Kind, Object, Refused, Unavailable
from tests.support.world import EXAMPLE, NAMESPACE, SYSTEM, World, manifest


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "POLL_SECONDS", 0)
    monkeypatch.setattr(logs_module, "POLL_SECONDS", 0)


def session(world: World) -> Session:
    return Session(world.kubernetes, NAMESPACE)  # type: ignore[arg-type]  # the fake has no logs


def watch(world: World, *, terminal: bool = False, seconds: float | None = 0.05) -> tuple[int, str]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    return asyncio.run(watch_build(session(world), "oxygen", seconds, console=console)), out.getvalue()


def test_the_plan_names_every_machine_and_what_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(EXAMPLE.read_text())
    out = capsys.readouterr().out
    for text in ("oxygen1", "oxygen5", "52:54:00:8d:00:05", "10.141.0.5", "OVERWRITTEN", "hostname (All)", "75%"):
        assert text in out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"compute": {"macs": ["52:54:00:8d:00:02"]}}, "spec.compute.macs has 1 entries for 4"),
        ({"compute": {"minReady": "200%"}}, "spec.compute.minReady: "),
        ({"compute": {"minReady": 0}}, "spec.compute.minReady: "),
        ({"compute": {"minReady": "00%"}}, "spec.compute.minReady: "),
        ({"power": None}, "spec.power: Field required"),
        ({"management": {"mac": "52:54:00:8d:00:02"}}, "MAC address used more than once: 52:54:00:8d:00:02"),
        ({"compute": {"hosts": "oxygen[2-"}}, "spec.compute.hosts: "),
        ({"compute": {"hosts": "oxygen[1-99999999]"}}, "names more than 1024 machines"),
        ({"compute": {"minReday": 1}}, "spec.compute.minReday: there is no such field"),
        (
            {"management": {"clusterInterface": {"address": "10.141.0.1/33"}}},
            "spec.management.clusterInterface.address: ",
        ),
        ({"management": {"address": "999.1.1.1"}}, "spec.management.address: "),
        ({"management": {"mac": "ff:ff:ff:ff:ff:ff"}}, "spec.management.mac: "),
        ({"bootHost": {"bootDirectory": "/srv/../etc"}}, "spec.bootHost.bootDirectory: "),
        ({"ssh": {"privateKeySecret": {"name": "Bad Name"}}}, "spec.ssh.privateKeySecret.name: "),
        ({"configuration": {"variables": {"ansible_host": "x"}}}, "ansible_host may not be set"),
    ],
)
def test_a_wrong_manifest_is_refused_naming_the_field(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said.replace("[", r"\[")):
        print_plan(yaml.safe_dump(manifest(**change)))


def test_what_re2_says_of_a_foreign_pattern_does_not_reach_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    job = {"name": "job", "script": "#!/bin/sh\n", "expect": {"output": "\x1b]0;title\x07(?=a)"}}
    with pytest.raises(Invalid, match="must be a regular expression in RE2 syntax"):
        print_plan(yaml.safe_dump(manifest(verify={"jobs": [job]})))
    assert capfd.readouterr() == ("", "")


HEAD = "apiVersion: bessemer.dev/v1alpha1\nkind: ClusterBuild\n"


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "kind: Pod",
        "",
        HEAD + "metadata: x\nspec: {}",
        HEAD + "metadata: [1]\nspec: {}",
        HEAD + "metadata: {name: Oxy_gen!}\nspec: {}",
        HEAD + "metadata: {name: oxygen}\nspec: [1]",
        HEAD + "metadata: {name: oxygen}",
    ],
)
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        print_plan(text)


def test_watch_tells_each_change_and_exits_with_0_when_ready(world: World) -> None:
    world.apply(manifest())
    world.settle()
    code, out = watch(world)
    assert code == 0
    for phase in PhaseName:
        assert f"{phase}: Succeeded: done" in out
    assert "Ready after" in out


def test_watch_exits_with_1_when_the_build_failed_and_says_why(world: World) -> None:
    world.results["Preflight"] = {"succeeded": False, "reason": "Wrong", "message": "it is wrong", "retryable": False}
    world.apply(manifest())
    world.settle()
    code, out = watch(world)
    assert code == 1
    assert "Preflight: it is wrong" in out


def test_watch_outlasts_a_short_outage_of_the_api_server_and_no_long_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Restarting:
        def __init__(self) -> None:
            self.asked = 0

        async def get_object(self, kind: Kind, namespace: str, name: str) -> Object | None:
            self.asked += 1
            if self.asked in (2, 3):
                raise Unavailable("ApiUnavailable", "connection refused")
            return await world.kubernetes.get_object(kind, namespace, name)

    monkeypatch.setattr(session_module, "PAUSE_SECONDS", 0)
    world.apply(manifest())
    world.settle()
    out = io.StringIO()
    where = Session(Restarting(), NAMESPACE)  # type: ignore[arg-type]  # all that watch asks for
    assert asyncio.run(watch_build(where, "oxygen", None, console=Console(file=out))) == 0
    monkeypatch.setattr(session_module, "OUTAGE_SECONDS", 0)
    where = Session(Restarting(), NAMESPACE)  # type: ignore[arg-type]  # all that watch asks for
    with pytest.raises(Unavailable):
        asyncio.run(watch_build(where, "oxygen", None, console=Console(file=out)))


def test_watch_exits_with_2_when_its_time_is_up(world: World) -> None:
    world.apply(manifest())
    world.step()
    code, out = watch(world, seconds=0)
    assert code == 2
    assert "the time is up" in out


def test_watch_does_not_take_the_verdict_on_an_earlier_spec(world: World) -> None:
    world.apply(manifest())
    world.settle()
    world.apply(manifest(services=["trino"]))
    assert watch(world, seconds=0)[0] == 2


def test_a_terminal_gets_the_whole_picture(world: World) -> None:
    world.results["BootCompute"] = {
        "succeeded": True, "reason": "Succeeded",
        "nodes": [
            {"hosts": "oxygen[2-4]", "state": "Installed"},
            {"hosts": "oxygen5", "state": "Failed", "reason": "NeverNetbooted"},
        ],
    }  # fmt: skip
    world.apply(manifest())
    world.settle()
    code, out = watch(world, terminal=True)
    assert code == 0
    assert "oxygen5: Failed (NeverNetbooted)" in out
    assert "3/4 installed" in out


def test_the_picture_shows_the_progress_of_the_running_phase(world: World) -> None:
    world.apply(manifest())
    world.step()
    world.set_pod("oxygen-preflight-1", "Running")
    nodes = [NodeGroup(hosts="oxygen[2-5]", state=NodeState.NETBOOTING)]
    progress = Progress(message="looking around", done=1, total=9, nodes=nodes)
    world.kind.deps.memories.get((NAMESPACE, "oxygen")).progress = progress
    world.step()
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(build_view(world.build(), datetime(2026, 11, 23, 12, 1, tzinfo=UTC)))
    text = console.export_text()
    assert "looking around" in text
    assert "oxygen[2-5]: Netbooting" in text
    assert "Preflight: 1/9 looking around" in watch(world, seconds=0)[1]


def test_orders_are_annotations(world: World) -> None:
    world.apply(manifest())
    for order in (Order.PAUSE, Order.ABORT):
        asyncio.run(patch_annotations(session(world), "oxygen", order))
    assert world.build().annotations == {"bessemer.dev/pause": "true", "bessemer.dev/abort": "true"}
    asyncio.run(patch_annotations(session(world), "oxygen", Order.RESUME))
    assert set(world.build().annotations) == {"bessemer.dev/abort"}
    asyncio.run(patch_annotations(session(world), "oxygen", Order.RETRY))
    assert set(world.build().annotations) == {"bessemer.dev/retry"}


def test_an_order_for_no_build_is_an_error_that_names_it(world: World) -> None:
    with pytest.raises(Invalid, match="no ClusterBuild neon in namespace lab"):
        asyncio.run(patch_annotations(session(world), "neon", Order.PAUSE))


def test_logs_are_those_of_the_latest_phase_or_of_the_one_asked_for(world: World) -> None:
    class WithLogs:
        get_object = world.kubernetes.get_object

        async def get_log(self, namespace: str, pod: str, container: str) -> str:
            if container == "playbooks" and "configure" not in pod:
                raise Refused("BadRequest", f"container {container} is not valid for pod {pod}")
            return f"{namespace}/{pod}/{container}\n"

    world.apply(manifest())
    where = Session(WithLogs(), NAMESPACE)  # type: ignore[arg-type]  # all that logs ask for
    out = io.StringIO()
    with pytest.raises(Invalid, match="no phase of oxygen has run yet"):
        asyncio.run(copy_logs(where, "oxygen", None, out, follow=False))
    world.settle()
    asyncio.run(copy_logs(where, "oxygen", None, out, follow=True))
    asyncio.run(copy_logs(where, "oxygen", PhaseName.CONFIGURE_SERVICES, out, follow=False))
    assert out.getvalue().splitlines() == [
        "lab/oxygen-cleanup-1/phase",
        "lab/oxygen-configure-services-1/playbooks",
        "lab/oxygen-configure-services-1/phase",
    ]


def test_logs_tell_why_playbooks_could_not_be_checked_out(world: World) -> None:
    class WithLogs:
        get_object = world.kubernetes.get_object

        async def get_log(self, _: str, pod: str, container: str) -> str:
            if container == "playbooks":
                return "fatal: repository not found\n"
            raise Refused("BadRequest", f"container {container} in pod {pod} is waiting to start: PodInitializing")

    world.apply(manifest())
    world.settle()
    out = io.StringIO()
    where = Session(WithLogs(), NAMESPACE)  # type: ignore[arg-type]  # all that logs ask for
    asyncio.run(copy_logs(where, "oxygen", PhaseName.PREFLIGHT, out, follow=False))
    assert out.getvalue() == "fatal: repository not found\n"


def test_finalizers_are_taken_off_builds_and_pods_and_nothing_else(world: World) -> None:
    world.apply(manifest())
    world.step()
    assert asyncio.run(delete_finalizers(world.kubernetes)) == 2
    assert world.build().finalizers == ()
    assert asyncio.run(delete_finalizers(world.kubernetes)) == 0


def test_finalizers_are_taken_off_only_in_the_namespaces_that_were_watched(world: World) -> None:
    world.apply(manifest())
    world.step()
    assert asyncio.run(delete_finalizers(world.kubernetes, ["elsewhere"])) == 0
    assert asyncio.run(delete_finalizers(world.kubernetes, ["elsewhere", NAMESPACE])) == 2


def test_no_lease_of_the_leader_or_of_a_machine_is_left_and_those_of_others_stay(world: World) -> None:
    world.apply(manifest())
    world.step()
    claimed = len(world.leases())
    for name in (LEADER_LEASE, "machine-of-another", "other"):
        lease = {"metadata": {"name": name}, "spec": {"holderIdentity": "test"}}
        asyncio.run(world.kubernetes.create_object(LEASES, SYSTEM, lease))
    assert asyncio.run(delete_leases(world.kubernetes, SYSTEM)) == claimed > 0
    assert set(world.leases()) == {"machine-of-another", "other"}
    assert asyncio.run(delete_leases(world.kubernetes, SYSTEM)) == 0


def test_an_error_is_one_line_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("kind: Pod")
    monkeypatch.setattr("sys.argv", ["bessemer", "plan", str(bad)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: the manifest must hold one object of kind ClusterBuild")
    assert "Traceback" not in error


def test_a_cluster_that_is_nowhere_configured_is_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    # The client library reads the variable once, when it is imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.setattr("sys.argv", ["bessemer", "watch", "oxygen"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 2
    assert "no way to a Kubernetes cluster is configured" in capsys.readouterr().err
