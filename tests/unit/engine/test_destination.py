"""A Secret goes only where its own annotation says, however the URL is written."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.engine.destination import check_destination
from bessemer.errors import Invalid

URL = "https://gitlab.example.org/sub"


def build_secret(annotation: Any) -> dict[str, Any]:
    return {"metadata": {"name": "gitlab", "annotations": {"bessemer.dev/for": annotation}}}


def explain(annotation: Any, url: str = URL) -> str:
    """Return why the Secret is not sent there; empty where it is."""
    try:
        check_destination(build_secret(annotation), "lab", "spec.gitlab.apiTokenSecret", url)
    except Invalid as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    ("annotation", "url"),
    [
        ("https://gitlab.example.org", URL),
        ("https://gitlab.example.org/", URL),
        ("https://gitlab.example.org:443", URL),
        ("https://gitlab.example.org", "https://gitlab.example.org:443"),
        ("HTTPS://GitLab.Example.ORG", URL),
        ("https://gitlab.example.org", "https://GITLAB.example.org./x"),
        ("gitlab.example.org", URL),
        ("gitlab.example.org", "http://gitlab.example.org:8080"),
        ("gitlab.example.org:8443", "https://gitlab.example.org:8443"),
        ("other.example.org, https://gitlab.example.org", URL),
        ("other.example.org https://gitlab.example.org", URL),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443/x"),
        ("[2001:db8::1]", "https://[2001:db8::1]:8443/x"),
        ("git.example.org", "ssh://git@git.example.org/site.git"),
    ],
)
def test_a_secret_goes_where_it_says(annotation: str, url: str) -> None:
    assert explain(annotation, url) == ""


@pytest.mark.parametrize(
    ("annotation", "url"),
    [
        ("https://gitlab.example.org", "http://gitlab.example.org"),
        ("https://gitlab.example.org", "https://gitlab.example.org:8443"),
        ("https://gitlab.example.org:8443", URL),
        ("gitlab.example.org:8443", URL),
        ("gitlab.example.org", "https://gitlab.example.org.evil.example"),
        ("gitlab.example.org", "https://evil.example/gitlab.example.org"),
        ("gitlab.example.org", "https://gitlab.example.org@evil.example/"),
        ("gitlab.example.org", "https://evil.example#gitlab.example.org"),
        ("example.org", URL),
        ("*", URL),
        ("*.example.org", URL),
        ("https://", URL),
        ("", URL),
        (None, URL),
        (7, URL),
        ({"https://gitlab.example.org": 1}, URL),
        ("https://gitlab.example.org", "gitlab.example.org"),
        ("https://gitlab.example.org", "https://gitlab.example.org:port"),
        ("owner@gitlab.example.org", URL),
        ("https://token@gitlab.example.org", URL),
        ("https://gitlab.example.org/group", "https://gitlab.example.org/other"),
        ("gitlab.example.org#evil.example", URL),
        ("git.example.org", "ssh://git.example.org#@evil.example/site.git"),
        ("git.example.org", "ssh://git.example.org?@evil.example/site.git"),
        ("git.example.org", "https://evil.example\\@git.example.org/site.git"),
        ("git.example.org", "https://evil.example\t@git.example.org/site.git"),
    ],
)
def test_it_goes_nowhere_else(annotation: Any, url: str) -> None:
    assert explain(annotation, url)


def test_the_message_has_the_command_that_allows_it() -> None:
    assert explain(None) == (
        "Secret gitlab (spec.gitlab.apiTokenSecret) does not say what it is for, and is not sent to "
        "https://gitlab.example.org; who owns it may allow it: kubectl annotate secret gitlab --namespace lab "
        "bessemer.dev/for=https://gitlab.example.org"
    )
    said = explain("https://other.example.org")
    assert "says that it is for https://other.example.org" in said
    assert said.endswith("--overwrite bessemer.dev/for=https://other.example.org,https://gitlab.example.org")


def test_the_command_is_harmless_in_a_shell_whatever_the_url_is() -> None:
    command = explain(None, "https://a;reboot$(id)`id`/").partition("allow it: ")[2]
    assert shlex.split(command)[-1] == "bessemer.dev/for=https://a;reboot$(id)`id`"


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_annotation_and_no_url_makes_it_fail_otherwise(annotation: str, url: str) -> None:
    said = explain(annotation, url)
    assert said.isprintable()


@given(st.text(max_size=40), st.text(max_size=40))
def test_what_the_command_sets_allows_it(host: str, path: str) -> None:
    said = explain(None, f"https://{host}.example.org/{path}")
    assert said
    value = shlex.split(said.partition("allow it: ")[2])[-1].partition("=")[2]
    if host.isascii() and host.isalnum():
        assert explain(value, f"https://{host}.example.org/{path}") == ""


@pytest.mark.parametrize("raw", [{}, {"metadata": None}, {"metadata": {"annotations": []}}, {"metadata": {"name": 7}}])
def test_a_secret_without_annotations_goes_nowhere(raw: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="does not say what it is for") as raised:
        check_destination(raw, "lab", "spec.gitlab.apiTokenSecret", URL)
    assert raised.value.reason == "SecretNotForHost"
