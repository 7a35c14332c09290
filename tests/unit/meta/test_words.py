"""Texts are in plain technical English: phrases that readers have stumbled over stay out.

Users read descriptions of fields, messages and documents; developers read docstrings. Each pattern has what to write
instead. Quoted words are exempt, such as the name of the user "nobody".
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("operator", "crds", "helm", "playbooks", "docs", "tests", "tools", "changes", "examples", ".gitlab", "")
"""Folders of the repository; the empty one has the files that are in none."""
SUFFIXES = frozenset({".py", ".md", ".yaml", ".yml", ".tpl", ".j2", ".sh", ".json", ".txt", ".toml", ".mod", ""})
INSTEAD = {
    r"\b(nobody|somebody)('s)?\b(?!\")": "no user, a user, another client: say who",
    r"\bwhoever\b": "a user who, anyone who",
    r"\bof ours\b": "our, or the name of the thing",
    r"\bof its own\b(?=\W*$|[^\w ]| (in|and|for|that|which|has|among)\b)": "its, its own, separate",
    r"\banew\b": "again, recreated, restarted, reinstalled",
    r"\bfor want of\b": "because ... is exhausted or missing",
    r"\bbears?\b": "has",
    r"\bwithout a word\b": "without a message, without a termination message",
    r"\b(is|are) to(?= [a-z])": "must, will, or the present tense",
    r"\bdoors?\b": "client, adapter, handler",
    r"\b\w*Door\b": "Client, Handler",
    r"\blet_go\b|\blets? (it|them) go\b": "finalize, remove",
    r"\bsights\b": "observation",
    r"\brests\b": "is settled, ends",
    r"\btake down (that|what)\b": "record",
    r'"""Give ': "Return",
    r'"""(Tell|Say) (whether|why|how|what|which)\b': "Return whether, why, how ...",
}
"""Regular expressions of phrases, and what to write instead. Matched without regard to case, except for names."""


_ANY = re.compile("|".join(f"(?:{pattern})" for pattern in INSTEAD), re.IGNORECASE)


def list_texts() -> list[Path]:
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    texts = [ROOT / name for name in found if Path(name).suffix in SUFFIXES and (ROOT / name).is_file()]
    return [path for path in texts if path != Path(__file__).resolve()]


def find_phrases(text: str) -> list[str]:
    """Return a line for each phrase in a text: its number, the phrase and what to write instead.

    Names of tests are read as words, too: ``test_nobody_asks`` has one.
    """
    found = []
    text = re.sub(r"\btest_\w+", lambda name: name[0].replace("_", " "), text)
    if not _ANY.search(text):  # far faster than line by line
        return []
    for number, line in enumerate(text.split("\n"), 1):
        for pattern, instead in INSTEAD.items():
            match = re.search(pattern, line, 0 if re.search("[A-Z]", pattern) else re.IGNORECASE)
            if match:
                found.append(f"{number}: {match[0]!r}: {instead}: {line.strip()[:100]}")
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_texts_have_no_phrases_that_readers_stumble_over(folder: str) -> None:
    found = []
    for path in list_texts():
        name = str(path.relative_to(ROOT))
        if name.rpartition("/")[0].partition("/")[0] != folder:
            continue
        found += [f"{name}:{hit}" for hit in find_phrases(path.read_text())]
    assert found == []


def test_a_phrase_is_found_as_a_word_and_with_its_replacement() -> None:
    assert find_phrases("nothing\nWhoever asks") == ["2: 'Whoever': a user who, anyone who: Whoever asks"]
    assert find_phrases("The outdoor sightseeing forests") == []
    assert find_phrases('user="nobody"') == []
    assert len(find_phrases("def test_nobody_is_asked() -> None:")) == 1
