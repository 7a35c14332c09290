"""What is built, when it is built again, and which programs of the PATH will do."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from local_kubernetes.binaries import components
from local_kubernetes.binaries.build import compute_cache_key
from local_kubernetes.binaries.components import Component, build_kubernetes
from local_kubernetes.binaries.toolchain import OLDEST_GO, decide_go_is_new_enough, parse_go_version
from local_kubernetes.binaries.tools import decide_tool_is_good_enough, parse_tool_version


@pytest.fixture
def component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Component:
    shutil.copytree(components.GO_MODULES, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(components, "GO_MODULES", tmp_path)
    return build_kubernetes("1.37")


def test_key_is_the_same_for_the_same_sources(component: Component) -> None:
    assert compute_cache_key(component, "go1.26.6") == compute_cache_key(build_kubernetes("1.37"), "go1.26.6")


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "main.go"])
def test_key_changes_with_every_source(component: Component, name: str) -> None:
    before = compute_cache_key(component, "go1.26.6")
    with (component.directory / name).open("a") as file:
        file.write("// changed\n")
    assert compute_cache_key(component, "go1.26.6") != before


def test_key_changes_with_go_and_flags(component: Component) -> None:
    other_flags = dataclasses.replace(component, linker_variables={})
    keys = {
        compute_cache_key(component, "go1.26.6"),
        compute_cache_key(component, "go1.26.8"),
        compute_cache_key(other_flags, "go1.26.6"),
    }
    assert len(keys) == 3


def test_an_old_release_is_pinned_by_a_separate_module_file(component: Component) -> None:
    old = build_kubernetes("1.34")
    assert [path.name for path in old.sources] == ["kube-1.34.mod", "kube-1.34.sum", "main.go"]
    assert f"k8s.io/kubernetes v{old.version}" in old.sources[0].read_text()
    assert f"k8s.io/kubernetes v{component.version}" in component.sources[0].read_text()


@pytest.mark.parametrize(
    "described",
    [
        components.ETCD,
        components.CONTAINERD,
        components.COREDNS,
        components.HELM,
        components.HELM_UNITTEST,
        components.HELM_DOCS,
        components.KUBECONFORM,
        components.KIND,
        components.KWOK,
        components.VERSITYGW,
    ],
)
def test_version_said_is_the_version_pinned(described: Component) -> None:
    module_file = (described.directory / described.modfile).read_text()
    package = next(iter(described.packages.values()))
    pinned = [line.split()[:2] for line in module_file.splitlines() if f" v{described.version}" in f" {line}"]
    assert any(package.startswith(module) for module, version in pinned if version == f"v{described.version}")


def test_oldest_go_is_the_highest_that_a_module_asks_for() -> None:
    lines = [line for path in components.GO_MODULES.glob("*/*.mod") for line in path.read_text().splitlines()]
    wanted = ["go" + line.removeprefix("go ") for line in lines if line.startswith("go ")]
    assert OLDEST_GO in wanted
    assert all(version == OLDEST_GO or not decide_go_is_new_enough(version) for version in wanted)


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("go version go1.26.8 linux/amd64\n", "go1.26.8"),
        ("go version go1.19.8 linux/arm64\n", "go1.19.8"),
        ("go version devel go1.28-abcdef linux/amd64\n", None),
        ("Go the board game\n", None),
    ],
)
def test_go_version_is_read(output: str, version: str | None) -> None:
    assert parse_go_version(output) == version


@pytest.mark.parametrize(
    ("version", "enough"), [("go1.26.5", False), ("go1.26.6", True), ("go1.27", True), ("go1.9.9", False)]
)
def test_go_has_to_be_new_enough(version: str, *, enough: bool) -> None:
    assert decide_go_is_new_enough(version) is enough


@pytest.mark.parametrize(
    ("name", "output", "kube_minor", "good"),
    [
        ("kubectl", "Client Version: v1.36.1\nKustomize Version: v5.7.1\n", "1.37", True),
        ("kubectl", "Client Version: v1.32.4\nKustomize Version: v5.5.0\n", "1.37", False),
        ("kubectl", "Client Version: v1.37.2\n", "1.34", False),
        ("helm", "v4.3.1", "1.37", True),
        ("helm", "v3.16.2", "1.37", False),
        ("kwok", "kwok version v0.8.0 go1.26 (linux/amd64)\n", "1.37", True),
    ],
)
def test_tool_of_the_path_has_to_fit(name: str, output: str, kube_minor: str, *, good: bool) -> None:
    version = parse_tool_version(output)
    assert version is not None
    assert decide_tool_is_good_enough(name, version, kube_minor) is good


def test_tool_without_a_version_is_not_read() -> None:
    assert parse_tool_version("unknown") is None
