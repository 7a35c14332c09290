"""The project names no package mirror: machines use their own sources, and tests those of this machine's apt."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCES = re.compile(r"\bdeb (?:\[[^\]]*\] )?https?://([^/\s\"']+)")
MIRRORS = re.compile(
    r"https?://((?:deb|archive|security|ftp|mirrors?|dl|download)\.[a-z0-9.-]*(?:debian|ubuntu|centos|rocky|alma|fedora|suse)[a-z0-9.-]*)"
)
MADE_UP = re.compile(r"[0-9.]+|(.+\.)?example(\.[a-z]+)?|x\.|\{.*")


def test_no_file_names_the_host_of_a_package_mirror() -> None:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    named = []
    for name in files.split("\0"):
        if not name or name == "uv.lock" or not (ROOT / name).is_file():
            continue
        text = (ROOT / name).read_text(errors="replace")
        hosts = [*SOURCES.findall(text), *MIRRORS.findall(text)]
        named += [f"{name}: {host}" for host in hosts if not MADE_UP.fullmatch(host)]
    assert named == []
