"""Wildcards for paths of files as GitLab has them. Pure, and in linear time.

These are Ruby's ``File.fnmatch`` with PATHNAME, DOTMATCH and EXTGLOB. Source: lib/gitlab/ci/build/rules/rule/clause/
changes.rb of gitlab-org/gitlab, and https://docs.ruby-lang.org/en/master/File.html#method-c-fnmatch. No library is
used, since those for Python translate to patterns that backtrack: tenants write them, and file names.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

import re2

MOST_ALTERNATIVES = 64
"""Maximum number of patterns that the braces of one pattern may stand for."""
MOST_BRACES = 8
"""Maximum number of opening braces of one pattern."""
MOST_CHARACTERS = 32_768
"""Maximum number of characters of all patterns of a trigger, as often as their braces repeat them. RE2 reads as many in
a tenth of a second, and refuses a multiple of that as too large."""
MAGIC = frozenset("*?[{\\")
"""Characters by which a pattern differs from a path."""
_QUIET = re2.Options()
_QUIET.log_errors = False


class PathMatcher:
    """Matches paths with patterns."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Compile the patterns; raises ValueError for one that can't be read."""
        single = [one for pattern in patterns for one in expand_braces(pattern)]
        self.count = len(single)
        self._compiled = _compile("|".join(f"(?:{_translate(pattern)})" for pattern in single))

    def matches(self, path: str) -> bool:
        """Return whether a path fits one of the patterns as a whole."""
        return self._compiled.fullmatch(path) is not None


@lru_cache(maxsize=4096)
def check_pattern(pattern: str) -> None:
    """Raise ValueError for a pattern that can't be read; a trigger is read again and again, its patterns are not."""
    PathMatcher([pattern])


def count_characters(pattern: str) -> int:
    """Return how many characters the patterns have in all that a pattern stands for; more than MOST_CHARACTERS for one
    with too many braces. Nothing is expanded for that.
    """
    if pattern.count("{") > MOST_BRACES:
        return MOST_CHARACTERS + 1
    return _measure(pattern)[1]


def expand_braces(pattern: str) -> list[str]:
    """Return the patterns without braces that ``a{b,c}`` stands for; raises ValueError for too many."""
    if pattern.count("{") > MOST_BRACES:
        raise ValueError(f"must not have more than {MOST_BRACES} opening braces")
    done, rest = [], [pattern]
    while rest:
        one = rest.pop()
        found = _find_braces(one)
        if found is None:
            done.append(one)
        else:
            head, options, tail = found
            rest += [f"{head}{option}{tail}" for option in reversed(options)]
        if len(done) + len(rest) > MOST_ALTERNATIVES:
            raise ValueError(f"must not stand for more than {MOST_ALTERNATIVES} patterns by its braces")
    return done


def get_folder(pattern: str) -> str:
    """Return the folder in which all paths are that fit a pattern; empty for the whole repository."""
    steps = pattern.split("/")
    plain = next((at for at, step in enumerate(steps) if set(step) & MAGIC), len(steps) - 1)
    return "/".join(steps[:plain])


def is_plain(pattern: str) -> bool:
    """Return whether a pattern is the path of one file."""
    return not set(pattern) & MAGIC


def _measure(pattern: str) -> tuple[int, int]:
    """Return how many patterns a pattern stands for, and how many characters these have."""
    found = _find_braces(pattern)
    if found is None:
        return 1, len(pattern)
    head, options, tail = found
    inside, (after, behind) = [_measure(option) for option in options], _measure(tail)
    count, characters = (sum(numbers) for numbers in zip(*inside, strict=True))
    return count * after, (count * len(head) + characters) * after + count * behind


def _find_braces(pattern: str) -> tuple[str, list[str], str] | None:
    """Return what precedes the first braces, what stands in them between commas, and what follows; None without."""
    depth, start, cuts, at = 0, 0, [], 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
        elif character == "{":
            depth += 1
            if depth == 1:
                start, cuts = at, [at]
        elif character == "}" and depth:
            depth -= 1
            if depth == 0:
                cuts.append(at)
                options = [pattern[one + 1 : two] for one, two in pairwise(cuts)]
                return pattern[:start], options, pattern[at + 1 :]
        elif character == "," and depth == 1:
            cuts.append(at)
        at += 1
    return None


def _translate(pattern: str) -> str:
    """Return the regular expression of a pattern without braces."""
    text, at, begins = "", 0, True
    while at < len(pattern):
        character = pattern[at]
        if begins and pattern.startswith("**/", at):
            text, at = text + "(?:[^/]+/)*", at + 3
            continue
        if character == "[" and (found := _translate_set(pattern, at)) is not None:
            piece, at = found
            text += piece
        elif character == "\\" and at + 1 < len(pattern):
            text, at = text + re2.escape(pattern[at + 1]), at + 2
        else:
            text += {"*": "[^/]*", "?": "[^/]"}.get(character) or re2.escape(character)
            at += 1
        begins = character == "/"
    return text


def _translate_set(pattern: str, at: int) -> tuple[str, int] | None:
    """Return the expression of the set that begins at ``at`` and the place behind it; None if it does not end."""
    end = pattern.find("]", at + 2)
    if end < 0 or "/" in pattern[at:end]:
        return None
    inside = pattern[at + 1 : end]
    negated = inside[:1] in ("!", "^")
    inside = inside[1:] if negated else inside
    escaped = "".join(f"\\{one}" if one in "\\[]^&~" else one for one in inside)
    return f"[{'^/' if negated else ''}{escaped}]", end + 1


def _compile(text: str) -> re2._Regexp:
    try:
        return re2.compile(f"(?s){text}", _QUIET)
    except re2.error:
        raise ValueError("is no pattern that can be read") from None
