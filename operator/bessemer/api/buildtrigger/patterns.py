"""Wildcards as GitLab has them: for names of refs, and for paths of files. Pure, and in linear time.

Refs: only ``*``, for any text. Source: app/models/ref_matcher.rb of gitlab-org/gitlab.
Paths: Ruby's ``File.fnmatch`` with PATHNAME, DOTMATCH and EXTGLOB. Source: lib/gitlab/ci/build/rules/rule/clause/
changes.rb of gitlab-org/gitlab, and https://docs.ruby-lang.org/en/master/File.html#method-c-fnmatch. No library is
used, since those for Python translate to patterns that backtrack: tenants write them, and file names.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import re2

MOST_ALTERNATIVES = 64
"""Maximum number of patterns that the braces of one pattern may stand for."""
MAGIC = frozenset("*?[{\\")
"""Characters by which a pattern differs from a path."""
_QUIET = re2.Options()
_QUIET.log_errors = False


def matches_ref(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a branch or tag has one of these names, in which * stands for any text."""
    return any(_compile(".*".join(map(re2.escape, pattern.split("*")))).fullmatch(name) for pattern in patterns)


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


def expand_braces(pattern: str) -> list[str]:
    """Return the patterns without braces that ``a{b,c}`` stands for; raises ValueError for too many."""
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
