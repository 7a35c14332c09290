"""The commands in the documents: every line with a prompt in a ``console`` code block."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.checkout import ROOT

PATTERNS = ("*.md", "docs/**/*.md", "helm/**/*.md", "playbooks/**/*.md", "tools/**/*.md")
_BLOCK = re.compile(r"^( *)```console\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"[$#] ")


@dataclass(frozen=True)
class Command:
    """One program with its arguments, as the shell would split them."""

    arguments: tuple[str, ...]

    def __str__(self) -> str:
        """Return the command for people."""
        return shlex.join(self.arguments)


def list_commands() -> list[Command]:
    """Return the commands of all documents, each once; the commands of a pipe are separate."""
    paths = {path for pattern in PATTERNS for path in ROOT.glob(pattern)}
    found = [
        Command(arguments)
        for path in sorted(paths)
        for _, block in _BLOCK.findall(path.read_text(encoding="utf-8"))
        for line in block.replace("\\\n", " ").splitlines()
        if _PROMPT.match(line.strip())
        for arguments in _split(line.strip()[2:])
    ]
    return list(dict.fromkeys(found))


def _split(line: str) -> Iterator[tuple[str, ...]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    arguments: list[str] = []
    for word in [*lexer, "|"]:
        if word != "|":
            arguments.append(word)
        elif arguments:
            yield tuple(arguments)
            arguments = []
