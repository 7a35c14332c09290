"""The user's page of the command has every command, option and shape."""

from __future__ import annotations

import re

import pytest
import typer

from bessemer.cli import app as cli
from tests.support.checkout import ROOT

PAGE = (ROOT / "docs" / "user" / "command.md").read_text()
EVERYWHERE = {"--namespace", "-n", "--context", "--kubeconfig", "--help", "-h", "--install-completion",
              "--show-completion", "--output", "-o"}  # fmt: skip
VISIBLE = [name for name in cli._MODULES if name not in cli._HIDDEN]


def list_options(name: str) -> set[str]:
    """List the options of a command as they are typed."""
    group = typer.main.get_group(cli.app)
    command = group.get_command(typer.Context(group), name)
    assert command is not None
    return {text for parameter in command.params for text in parameter.opts if text.startswith("-")}


@pytest.mark.parametrize("name", VISIBLE)
def test_the_page_has_the_command_with_every_option(name: str) -> None:
    sections = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    own = "".join(text for title, text in sections if name in title.split(", "))
    assert own or name == "run"
    assert {
        option for option in list_options(name) - EVERYWHERE if not re.search(rf"(?<![-\w]){option}\b", own)
    } == set()
    assert name in PAGE.partition("\n## ")[0]


def test_the_page_has_the_options_that_all_commands_have() -> None:
    assert {option for option in EVERYWHERE if f"`{option}" not in PAGE and f"bessemer {option}" not in PAGE} == set()
