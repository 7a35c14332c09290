"""The tools are products of their own: complete in what they declare, and in neither the wheel nor the image."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

TOOLS = sorted(path.parent for path in (ROOT / "tools").glob("*/pyproject.toml"))
MODULES = {"pyyaml": "yaml"}
"""Names of distributions to those of their modules, where they differ in more than case and dashes."""


def read_project(folder: Path) -> dict[str, list[str]]:
    project: dict[str, list[str]] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return project


def list_imports(package: Path) -> Iterator[str]:
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (name.name.partition(".")[0] for name in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield node.module.partition(".")[0]


def test_there_are_the_three_tools() -> None:
    assert [folder.name for folder in TOOLS] == ["gitlab-simulator", "local-kubernetes", "rack"]


@pytest.mark.parametrize("folder", TOOLS, ids=lambda folder: folder.name)
def test_a_tool_declares_what_it_imports(folder: Path) -> None:
    project = read_project(folder)
    extras = tomllib.loads((folder / "pyproject.toml").read_text())["project"].get("optional-dependencies", {})
    wanted = [*project["dependencies"], *(one for extra in extras.values() for one in extra)]
    names = [re.split(r"[<>=~!\[; ]", one)[0] for one in wanted]
    declared = {MODULES.get(name, name.replace("-", "_")) for name in names}
    package = folder / folder.name.replace("-", "_")
    foreign = set(list_imports(package)) - set(sys.stdlib_module_names) - {package.name}
    assert foreign == declared


@pytest.mark.parametrize("folder", TOOLS, ids=lambda folder: folder.name)
def test_a_tools_readme_begins_with_its_command(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    (command,) = read_project(folder)["scripts"]
    assert text.startswith(f"# {folder.name}\n")
    assert re.search(rf"^[$#] {command}\b", text, re.MULTILINE)


def test_the_wheel_has_the_product_alone() -> None:
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert built == {"packages": ["operator/bessemer"]}


def test_the_image_is_built_from_nothing_of_tools_or_tests() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    assert not {line.removeprefix("!").partition("/")[0] for line in lines if line.startswith("!")} & {"tools", "tests"}
