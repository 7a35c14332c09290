"""Wildcards of refs and paths, as GitLab and Ruby's File.fnmatch have them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bessemer.api.buildtrigger.patterns import (
    MOST_BRACES,
    MOST_CHARACTERS,
    PathMatcher,
    count_characters,
    expand_braces,
    get_folder,
    is_plain,
)
from bessemer.api.buildtrigger.resource import parse_build_trigger
from bessemer.api.buildtrigger.rules import MAX_RULES, MOST_PATTERNS, PathPattern
from bessemer.api.gitlab import matches_ref
from bessemer.gitlab.protocol import Head
from bessemer.kinds.buildtrigger.missed import list_fitting
from tests.support.trigger_world import trigger_manifest

MOST_SECONDS = 5
"""For what takes milliseconds, on a busy machine; a pattern that backtracks takes years."""


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("main", "main", True),
        ("main", "maintenance", False),
        ("main", "Main", False),
        ("*", "feature/x", True),
        ("release/*", "release/1/2", True),
        ("*-stable", "1-0-stable", True),
        ("a*c", "ac", True),
        ("a.c", "abc", False),
        ("a+", "aa", False),
        ("a|b", "b", False),
        ("*ab*b", "ab", False),
        ("*" * 255, "", True),
    ],
)
def test_a_star_in_a_ref_stands_for_any_text_also_with_a_slash(pattern: str, name: str, fits: bool) -> None:
    assert matches_ref(name, [pattern]) is fits


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("a.yaml", "a.yaml", True),
        ("*.yaml", "a.yaml", True),
        ("*.yaml", "folder/a.yaml", False),
        ("**/*.yaml", "a.yaml", True),
        ("**/*.yaml", "x/y/a.yaml", True),
        ("clusters/**/*", "clusters/x/a", True),
        ("clusters/**", "clusters/a", True),
        ("clusters/**", "clusters/x/a", False),  # as in Ruby: ** at the end is *
        ("*", ".hidden", True),  # DOTMATCH
        ("**/a", ".hidden/a", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("[!a]x", "/x", False),
        ("{a,b}.yaml", "b.yaml", True),
        ("{a,b{c,d}}", "bd", True),
        ("{a,b}.yaml", "{a,b}.yaml", False),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("a[b", "a[b", True),
    ],
)
def test_paths_are_matched_as_ruby_does(pattern: str, path: str, fits: bool) -> None:
    assert PathMatcher([pattern]).matches(path) is fits


@pytest.mark.parametrize(
    ("pattern", "folder", "plain"),
    [
        ("a.yaml", "", True),
        ("x/y/a.yaml", "x/y", True),
        ("x/*.yaml", "x", False),
        ("x/**/a.yaml", "x", False),
        ("{x,y}/a", "", False),
    ],
)
def test_the_folder_of_a_pattern_has_all_that_fits(pattern: str, folder: str, plain: bool) -> None:
    assert (get_folder(pattern), is_plain(pattern)) == (folder, plain)


@given(st.lists(st.sampled_from(["*a", "**/", "{a,b}", "?", "[ab]", "a"]), min_size=1, max_size=40).map("".join))
def test_no_pattern_takes_long(pattern: str) -> None:
    began = time.monotonic()
    try:
        PathMatcher([pattern]).matches("a" * 200 + "/")
    except ValueError:
        assert pattern.count("{") > 5
    assert time.monotonic() - began < MOST_SECONDS


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    try:
        PathMatcher([text])
        expand_braces(text)
    except ValueError:
        return


@pytest.mark.parametrize("pattern", ["/a", "a b", "{a,b}" * 7, "[b-a]"])
def test_what_can_be_no_pattern_is_refused_at_apply(pattern: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PathPattern).validate_python(pattern)


@given(st.lists(st.sampled_from(["{", "}", ",", "a", "?", "[", "]"]), max_size=24).map("".join))
def test_characters_are_counted_without_expanding_braces(pattern: str) -> None:
    try:
        found = expand_braces(pattern)
    except ValueError:
        return
    assert count_characters(pattern) == sum(map(len, found))


def parse_with(rules: list[dict[str, Any]]) -> tuple[Any, str]:
    """Parse a trigger with these rules, as each webhook has it done; return its spec and why there is none."""
    began, raw = time.monotonic(), trigger_manifest(rules=rules)
    raw["metadata"]["uid"] = "u"
    found = parse_build_trigger(raw)
    assert time.monotonic() - began < MOST_SECONDS
    return found.spec, found.spec_error


@pytest.mark.parametrize(
    "pattern",
    ["{a,b}" * 6 + "[!a]" * 50, "{a,b}" * 6 + "?" * 220, "{" * 127 + "}" * 127, "a{b" * 80, "?" * 250],
)
def test_a_trigger_with_more_patterns_than_can_be_read_in_a_moment_is_refused_in_one(pattern: str) -> None:
    push = {"branches": ["main"]}
    rules = [
        {"name": f"r{number}", "push": push, "paths": [f"{pattern}{one}" for one in range(MOST_PATTERNS)]}
        for number in range(MAX_RULES)
    ]
    spec, why = parse_with(rules)
    assert spec is None
    assert f"at most {MOST_CHARACTERS} characters" in why


def test_as_many_patterns_as_users_write_are_taken() -> None:
    paths = [f"clusters/{{oxygen,neon}}-{number}/**/*.ya?ml" for number in range(MOST_PATTERNS)]
    rules = [{"name": f"r{number}", "push": {"branches": ["main"]}, "paths": paths[:16]} for number in range(MAX_RULES)]
    spec, why = parse_with(rules)
    assert spec is not None, why


def test_a_pattern_of_too_many_braces_is_refused() -> None:
    assert count_characters("{a}" * MOST_BRACES) == MOST_BRACES
    with pytest.raises(ValueError, match="opening braces"):
        PathMatcher(["{a}" * (MOST_BRACES + 1)])


@pytest.mark.parametrize("pattern", ["*a*" + "b" * 250, "*" * 128, "x"])
def test_many_refs_are_compared_with_many_patterns_in_a_moment_or_the_trigger_is_refused(pattern: str) -> None:
    rules = [{"name": f"r{number}", "push": {"branches": [pattern] * 2}} for number in range(MAX_RULES)]
    spec, why = parse_with(rules)
    if spec is None:
        assert "more * in them" in why
        return
    began = time.monotonic()
    places = [("", f"refs/heads/{'a' * 200}{number}") for number in range(1000)]
    list_fitting(spec, {place: Head("0" * 40, protected=True) for place in places})
    assert time.monotonic() - began < MOST_SECONDS


def test_a_trigger_with_more_names_of_refs_than_can_be_compared_is_refused() -> None:
    rules = [{"name": f"r{number}", "tag": {"tags": ["v1"] * MOST_PATTERNS}} for number in range(9)]
    assert parse_with(rules)[0] is None
