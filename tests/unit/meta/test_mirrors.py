"""The project names no package mirror: machines use their own sources, and tests those of this machine's apt."""

from __future__ import annotations

import re

from tests.support.checkout import ROOT

SOURCES = re.compile(r"\bdeb (?:\[[^\]]*\] )?https?://([^/\s\"']+)")
MIRRORS = re.compile(
    r"https?://((?:deb|archive|security|ftp|mirrors?|dl|download)\.[a-z0-9.-]*(?:debian|ubuntu|centos|rocky|alma|fedora|suse)[a-z0-9.-]*)"
)
MADE_UP = re.compile(r"[0-9.]+|x|(.+\.)?example(\.[a-z]+)?|x\.|\{.*")


def test_no_file_names_the_host_of_a_package_mirror() -> None:
    folders = (
        ".ci",
        ".gitlab",
        "changes",
        "crds",
        "docs",
        "examples",
        "helm",
        "operator",
        "playbooks",
        "tests",
        "tools",
    )
    files = [*ROOT.glob("*"), *(file for folder in folders for file in (ROOT / folder).rglob("*"))]
    named = []
    for file in files:
        if not file.is_file() or file.name == "uv.lock" or "__pycache__" in file.parts:
            continue
        text = file.read_text(errors="replace")
        hosts = [*SOURCES.findall(text), *MIRRORS.findall(text)]
        named += [f"{file.relative_to(ROOT)}: {host}" for host in hosts if not MADE_UP.fullmatch(host)]
    assert named == []
