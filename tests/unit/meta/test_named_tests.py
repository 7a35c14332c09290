"""The documents that promise tests name ones that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

DOCUMENTS = {
    "docs/user/complaints.md": 30,
    "docs/development/runner-traps.md": 40,
    "docs/development/trigger-traps.md": 20,
}
"""Documents, and the tests that they name at the least."""
WITHOUT_A_TEST = ("Nothing", "Not looked at")
"""What stands in the rows that name none."""


def list_tests(path: Path) -> set[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    functions = (node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions}


@pytest.mark.parametrize(("document", "least"), DOCUMENTS.items())
def test_each_test_that_is_named_is_there(document: str, least: int) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / document).read_text(encoding="utf-8"))
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).exists() or not name.startswith("test_") or name not in list_tests(ROOT / path)
    ]
    assert missing == []
    assert len(named) >= least


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_row_names_a_test_or_says_that_nothing_is_done(document: str) -> None:
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and not re.match(r"\|( \|)? (trap|complaint) ", line)]
    assert [
        row for row in rows if "::test_" not in row and not any(f"| {words}" in row for words in WITHOUT_A_TEST)
    ] == []
