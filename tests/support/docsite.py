"""Builds the documents as a site in ``build/site``: ``make docs``.

The documents are copied to ``build/pages`` with their paths, because MkDocs needs a folder that contains only pages.
Links to files that are not pages (code, folders, examples) lead to the repository. MkDocs fails on a broken link, and
on a page that is missing in the navigation.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.checkout import ROOT

PAGES = ROOT / "build" / "pages"
PATTERNS = ("*.md", "docs/**/*.md", "playbooks/**/*.md", "gitlab/*.md", "helm/**/*.md", "tools/**/*.md")
ASSETS = ("docs/session/demo.svg", "docs/session/demo.txt")
REPOSITORY = os.environ.get("CI_PROJECT_URL", "https://gitlab.example.org/bessemer/bessemer")
_LINK = re.compile(r"(?<=\]\()(?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?(?=\))")


def list_pages() -> list[Path]:
    """List the documents that are pages, as paths in the checkout."""
    found = (path for pattern in PATTERNS for path in ROOT.glob(pattern))
    return sorted(path.relative_to(ROOT) for path in found)


def rewrite_links(text: str, page: Path, kept: set[Path]) -> str:
    """Return a page whose links to files that are not ``kept`` lead to the folder's README or to the repository."""

    def rewrite(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(page.parent / link["path"]))
        anchor = link["anchor"] or ""
        if target in kept or not (ROOT / target).exists():
            return link[0]
        if target / "README.md" in kept:
            return os.path.relpath(target / "README.md", page.parent) + anchor
        kind = "tree" if (ROOT / target).is_dir() else "blob"
        return f"{REPOSITORY}/-/{kind}/main/{target.as_posix()}{anchor}"

    return _LINK.sub(rewrite, text)


def stage() -> None:
    """Copy all pages and what they show to ``build/pages``."""
    shutil.rmtree(PAGES, ignore_errors=True)
    pages = list_pages()
    kept = {*pages, *map(Path, ASSETS)}
    for path in kept:
        (PAGES / path).parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / path).read_text(encoding="utf-8")
        staged = rewrite_links(text, path, kept) if path.suffix == ".md" else text
        (PAGES / path).write_text(staged, encoding="utf-8")


def main() -> int:
    """Build the site; return the exit code of MkDocs."""
    stage()
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "CI_PROJECT_URL": REPOSITORY}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
