"""Wildcards of refs and paths, as GitLab and Ruby's File.fnmatch have them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bessemer.api.buildtrigger.patterns import PathMatcher, expand_braces, get_folder, is_plain, matches_ref
from bessemer.api.buildtrigger.rules import PathPattern

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
