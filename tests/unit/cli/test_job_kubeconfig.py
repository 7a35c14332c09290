"""``bessemer job`` with a kubeconfig, as GitLab's agent gives one to jobs: the manifest is applied and followed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bessemer.cli.job import run as running
from bessemer.cli.job.kubeclient import KubeBuilder
from bessemer.cli.job.results import Exit
from bessemer.cli.job.settings import KubeSettings, read_settings
from bessemer.kube import protocol
from bessemer.kube.protocol import Unavailable
from tests.support.trigger_world import KEY, TriggerWorld, build_manifest, open_trigger_world, push_body

COMMIT = "c" * 40


class Scene:
    """A namespace of a world in which ClusterBuilds are worked on, and a job with a kubeconfig."""

    def __init__(self, world: TriggerWorld, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.then: list[Any] = []
        """What happens before each reading of the build."""
        folder.mkdir()
        self.write(build_manifest())

    def write(self, manifest: bytes) -> None:
        (self.folder / "oxygen.yaml").write_bytes(manifest)

    def read_settings(self, job: int = 302, **more: str) -> KubeSettings:
        given = {
            "BESSEMER_AUTH": "kubeconfig",
            "BESSEMER_MANIFEST": str(self.folder / "oxygen.yaml"),
            "BESSEMER_FOLDER": str(self.folder / "out"),
            "CI_JOB_ID": str(job),
            "CI_COMMIT_SHA": COMMIT,
        }
        settings = read_settings(given | more)
        assert isinstance(settings, KubeSettings)
        return settings

    async def get_object(self, kind: protocol.Kind, namespace: str, name: str) -> Any:
        if kind.plural == "clusterbuilds" and self.world.build(name) is not None and self.then:
            self.then.pop(0)()
        return await self.world.kubernetes.get_object(kind, namespace, name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world.kubernetes, name)

    def annotation(self, name: str) -> Any:
        raw = self.world.build()
        assert raw is not None
        return raw["metadata"]["annotations"].get(f"bessemer.dev/{name}")

    def end(self, *, ready: bool = True, reason: str = "") -> None:
        self.world.end_build(ready=ready, reason=reason)
        raw = self.world.build()
        assert raw is not None
        settled = {"type": "Progressing", "status": "False", "reason": "Done", "message": ""}
        settled["lastTransitionTime"] = raw["status"]["endTime"]
        self.world.kubernetes.edit(
            "clusterbuilds", KEY[0], "oxygen", {"status": {"conditions": [*raw["status"]["conditions"], settled]}}
        )


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(running, "POLL_SECONDS", 0.0)
    async with open_trigger_world() as world:
        made = Scene(world, tmp_path / "job")

        @asynccontextmanager
        async def open_builder(settings: KubeSettings) -> Any:
            kubernetes: Any = made
            yield KubeBuilder(kubernetes, settings.namespace or KEY[0], settings)

        monkeypatch.setattr(running, "open_kube_builder", open_builder)
        yield made


async def test_the_manifest_is_applied_and_followed_to_its_end(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    def boot() -> None:
        scene.world.work(BootManagement="Running")
        scene.world.log("oxygen-boot-management-1", "power on oxygen1")

    scene.then += [boot, scene.end]
    assert await running.run_build(scene.read_settings()) is Exit.READY
    out = capsys.readouterr().out
    assert out.index("section_start:") < out.index("power on oxygen1\n") < out.index("section_end:")
    assert "oxygen: Ready" in out
    assert "BESSEMER_CLUSTER_NAME=oxygen\n" in (scene.folder / "out" / "bessemer.env").read_text()
    assert scene.annotation("retry") == "job-302"


async def test_a_build_that_fails_fails_the_job_and_another_job_tries_again(scene: Scene) -> None:
    scene.then += [lambda: scene.end(ready=False)]
    assert await running.run_build(scene.read_settings()) is Exit.FAILED
    scene.then += [lambda: None, lambda: None, scene.end]
    assert await running.run_build(scene.read_settings(job=303)) is Exit.READY, "the failure was that of an older order"
    assert scene.annotation("retry") == "job-303"


async def test_a_cancelled_job_aborts_its_build_and_no_other(scene: Scene) -> None:
    settings = scene.read_settings()

    async def abort() -> None:
        assert await running.run_abort(settings) is Exit.READY

    scene.then += [lambda: scene.end(ready=False, reason="Aborted")]
    assert await running.run_build(settings) is Exit.ABORTED
    await abort()
    assert scene.annotation("abort") == "true"
    scene.then += [scene.end, scene.end]
    assert await running.run_build(scene.read_settings(job=303)) is Exit.READY
    assert scene.annotation("abort") is None, "a new job takes an order to abort back"
    await abort()
    assert scene.annotation("abort") is None, "it is built for another job by now"


async def test_the_commit_of_the_pipeline_is_that_of_the_playbooks(scene: Scene) -> None:
    playbooks = {"repository": "https://git.example/a", "management": "a.yml"}
    scene.write(build_manifest(configuration={"playbooks": playbooks}))
    scene.then += [scene.end]
    await running.run_build(scene.read_settings())
    raw = scene.world.build()
    assert raw is not None
    assert raw["spec"]["configuration"]["playbooks"]["commit"] == COMMIT


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"a: [", "is no YAML"),
        (b"\xff", "is no YAML"),
        (b"kind: Pod", "must have one ClusterBuild"),
        (build_manifest() + b"---\n" + build_manifest("neon"), "BESSEMER_CLUSTER chooses one"),
        (build_manifest().replace(b"metadata:", b"metadata:\n  namespace: kube-system"), "metadata.namespace"),
        (b" " * (1 << 20) + build_manifest(), "at most 1048576 bytes"),
    ],
)
async def test_a_file_that_can_not_be_applied_refuses_the_job(
    scene: Scene, capsys: pytest.CaptureFixture[str], manifest: bytes, message: str
) -> None:
    scene.write(manifest)
    assert await running.run_build(scene.read_settings()) is Exit.REFUSED
    assert message in capsys.readouterr().out
    assert scene.world.build() is None


async def test_a_job_without_a_checkout_is_told_what_is_missing(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await running.run_build(scene.read_settings(BESSEMER_MANIFEST="nowhere.yaml")) is Exit.REFUSED
    assert "does the job fetch the repository?" in capsys.readouterr().out


async def test_one_of_several_clusters_is_chosen_by_its_name(scene: Scene) -> None:
    scene.write(build_manifest("neon") + b"---\n" + build_manifest())
    scene.then += [scene.end]
    assert await running.run_build(scene.read_settings(BESSEMER_CLUSTER="oxygen")) is Exit.READY
    assert scene.world.build("neon") is None


async def test_the_build_of_a_trigger_is_left_alone(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    await scene.world.apply()
    await scene.world.settle()
    commit = scene.world.push("one", oxygen=build_manifest())
    await scene.world.take(push_body(commit))
    await scene.world.settle()
    assert await running.run_build(scene.read_settings()) is Exit.REFUSED
    assert "ClusterBuild oxygen is that of BuildTrigger site" in capsys.readouterr().out


async def test_a_build_that_is_deleted_fails_the_job(scene: Scene) -> None:
    scene.then += [lambda: scene.world.kubernetes.objects.pop(("clusterbuilds", KEY[0], "oxygen"))]
    assert await running.run_build(scene.read_settings()) is Exit.FAILED


async def test_what_kubernetes_refuses_is_said_and_what_may_pass_is_waited_for(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outages = iter([Unavailable("ApiUnavailable", "no answer")])
    real = scene.world.kubernetes.apply_object

    async def apply(*arguments: Any, **options: Any) -> Any:
        for error in outages:
            raise error
        return await real(*arguments, **options)

    monkeypatch.setattr(scene.world.kubernetes, "apply_object", apply)
    scene.then += [scene.end]
    assert await running.run_build(scene.read_settings()) is Exit.READY
    assert "waiting: no answer" in capsys.readouterr().out

    async def refuse(*_: Any, **__: Any) -> Any:
        raise protocol.Refused("Forbidden", "you may not patch clusterbuilds")

    monkeypatch.setattr(scene.world.kubernetes, "apply_object", refuse)
    assert await running.run_build(scene.read_settings()) is Exit.REFUSED
    assert "you may not patch clusterbuilds" in capsys.readouterr().out


async def test_without_the_right_to_mask_secrets_no_line_of_a_log_is_shown(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = scene.world.kubernetes.get_object

    async def get(kind: protocol.Kind, namespace: str, name: str) -> Any:
        if kind.plural == "secrets":
            raise protocol.Refused("Forbidden", "you may not get secrets")
        return await read(kind, namespace, name)

    def boot() -> None:
        scene.world.work(BootManagement="Running")
        scene.world.log("oxygen-boot-management-1", "the key is s3cr3t")

    monkeypatch.setattr(scene.world.kubernetes, "get_object", get)
    scene.then += [boot, lambda: None, scene.end]
    assert await running.run_build(scene.read_settings()) is Exit.READY
    out = capsys.readouterr().out
    assert "s3cr3t" not in out
    assert out.count("the log can't be read: Forbidden: you may not get secrets") == 1
