"""Packages hold nothing but a docstring; that imports point one way is checked by lint-imports, exhaustively."""

from __future__ import annotations

import re
import tomllib

from tests.support.checkout import ROOT

PACKAGE = ROOT / "operator" / "bessemer"


def test_the_table_of_layers_is_that_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["id"] == "layers")["layers"]
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text[text.index("| layer | what it is |") :].split("\n\n", 1)[0].splitlines()[2:]
    assert [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table] == [layer.split(" | ") for layer in layers]


def test_packages_hold_nothing_but_a_docstring() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        assert len(path.read_text().strip().splitlines()) <= 5, f"{path} should be empty but for its docstring"
