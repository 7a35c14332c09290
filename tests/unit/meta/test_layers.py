"""Every module of the package has a place in the layers; a stray one fails here, and a wrong import in lint-imports."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "operator" / "bessemer"


def modules() -> set[str]:
    """List all modules but the packages themselves, which hold nothing but a docstring."""
    paths = [path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    return {".".join(path.with_suffix("").parts) for path in paths}


def placed_modules() -> set[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["id"] == "layers")["layers"]
    return {module.strip() for layer in layers for module in layer.split("|")}


def explained_modules() -> set[str]:
    """Read the table of layers; `.name` lies in the package of the name before it."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text[text.index("| layer | modules |") :].split("\n\n", 1)[0]
    found, package = set(), ""
    for name in re.findall(r"`([\w.]+)`", table):
        package = package if name.startswith(".") else name.rpartition(".")[0]
        found.add(f"bessemer.{package}{name}" if name.startswith(".") else f"bessemer.{name}")
    return found


def test_the_table_of_layers_names_all_modules_and_none_that_is_gone() -> None:
    assert explained_modules() == placed_modules()


def test_every_module_has_its_layer() -> None:
    placed = placed_modules()
    stray = {name for name in modules() if not any(name == place or name.startswith(f"{place}.") for place in placed)}
    assert stray == set()


def test_packages_hold_nothing_but_a_docstring() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        assert len(path.read_text().strip().splitlines()) <= 5, f"{path} should be empty but for its docstring"
