"""Where GitLab is: what the API server takes the operator takes, and the operator goes nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from yarl import URL

from bessemer.api.runnerpool.spec import GitLabConnection
from bessemer.api.schema import compute_structural_schema
from bessemer.cli.rules import list_broken_rules
from bessemer.errors import Invalid
from bessemer.gitlab.address import (
    HostNotAllowed,
    check_host,
    is_same_origin,
    make_origin,
    parse_address,
    parse_hosts,
)
from bessemer.gitlab.client import GitLabConnector

GOOD = [
    "https://gitlab.example.com",
    "http://gitlab.example.com:8080/",
    "https://example.com/gitlab",
    "https://[2001:db8::7]:8443",
    "http://127.0.0.1:65535",
    "https://gitlab.example.com/my/api/v4x",
]
BAD = {
    "http://gitlab:99999": "1 to 65535",
    "http://gitlab:0": "1 to 65535",
    "http://gitlab:65536/x": "1 to 65535",
    "http://gitlab:8a": "1 to 65535",
    "http://2001:db8::7": "1 to 65535",
    "https://gitlab.example.com/api/v4": "/api/v4",
    "https://gitlab.example.com/api/v4/": "/api/v4",
    "https://example.com/gitlab/api/v5": "/api/v4",
    "https://gitlab.example.com/api/graphql": "/api/v4",
    "https://gitlab.example.com/api": "/api/v4",
    "https://gitlab.example.com/\x1b[31m": "printable ASCII",
    "https://gitlab.example.com/\x00": "printable ASCII",
    "https://gitlab.ex\u0430mple.com": "printable ASCII",
    "https://gitl\u00e4b.example/gr\u00fcn": "printable ASCII",
    "https://gitlab.example.com/a\u2028b": "printable ASCII",
}


def list_broken(url: str) -> list[str]:
    schema = compute_structural_schema(GitLabConnection)
    return list_broken_rules({"url": url, "scope": {"type": "Instance"}}, schema, "spec.gitlab")


@pytest.mark.parametrize("url", GOOD)
def test_a_url_of_gitlab_is_taken(url: str) -> None:
    assert list_broken(url) == []
    assert str(parse_address(url)).rstrip("/") == url.rstrip("/")


@pytest.mark.parametrize("url", BAD)
def test_a_url_that_can_not_be_gitlabs_is_refused_at_apply_naming_what_would_be_right(url: str) -> None:
    (broken,) = list_broken(url)
    assert broken.startswith("spec.gitlab.url: ")
    assert BAD[url] in broken


@pytest.mark.parametrize(
    "url",
    [*BAD, "gitlab", "", "ftp://gitlab", "http://", "http://user:secret@gitlab", "http://gitlab?x=1", "http://g#x"],
)
def test_the_operator_refuses_them_as_well_in_a_sentence_with_the_field(url: str) -> None:
    with pytest.raises(Invalid, match=r"^InvalidSpec: spec\.gitlab\.url: ") as caught:
        GitLabConnector().connect(url, "glpat-secret", None)
    assert "secret" not in caught.value.message


@settings(deadline=None)
@given(st.sampled_from(["http://", "https://gitlab.example/", "https://"]), st.text(max_size=20))
def test_what_the_api_server_takes_the_operator_takes(start: str, rest: str) -> None:
    try:
        connection = GitLabConnection.model_validate({"url": start + rest, "scope": {"type": "Instance"}})
    except ValidationError:
        return
    if list_broken(connection.url) == []:
        assert connection.url.isascii()
        assert connection.url.isprintable()
        parse_address(connection.url)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_url_or_a_mistake_of_the_user(text: str) -> None:
    for url in (text, f"http://{text}", f"https://gitlab.example.com:{text}"):
        try:
            base = parse_address(url)
        except Invalid as error:
            said = error.message
        else:
            assert base.host
            assert base.scheme in ("http", "https")
            assert is_same_origin(base, base)
            said = make_origin(base)
        assert said.isprintable()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://gitlab.example", "https://GITLAB.example:443/x", True),
        ("https://gitlab.example", "http://gitlab.example", False),
        ("http://gitlab.example", "https://gitlab.example", False),
        ("http://gitlab.example", "http://gitlab.example:8080", False),
        ("http://gitlab.example", "http://gitlab.example.evil.example", False),
        ("http://gitlab.example", "http://gitlab.example@evil.example", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert is_same_origin(URL(one), URL(other)) is same


@pytest.mark.parametrize(
    ("allowed", "url", "fits"),
    [
        ("", "http://anything", True),
        ("gitlab.example.com", "https://GitLab.example.com:8443/x", True),
        ("gitlab.example.com", "https://gitlab.example.com./x", True),
        ("gitlab.example.com", "https://agitlab.example.com", False),
        ("*.example.com, gitlab", "https://a.b.example.com", True),
        ("*.example.com, gitlab", "http://gitlab", True),
        ("*.example.com", "https://example.com", False),
        ("*.example.com", "https://evilexample.com", False),
        ("*.example.com", "https://x.example.com.evil.org", False),
        ("10.0.0.7,[2001:db8::7]", "http://10.0.0.7", True),
        ("10.0.0.7,[2001:db8::7]", "http://[2001:db8::7]:80", True),
        ("10.0.0.7,[2001:db8::7]", "http://10.0.0.70", False),
    ],
)
def test_hosts_are_allowed_by_name(allowed: str, url: str, fits: bool) -> None:
    hosts = parse_hosts(allowed)
    if fits:
        check_host(URL(url), hosts)
        return
    with pytest.raises(HostNotAllowed, match=r"spec\.gitlab\.url: .* \(gitlab\.allowedHosts"):
        GitLabConnector(hosts).connect(url, None, None)


@pytest.mark.parametrize("text", ["a b", "https://gitlab", "*", "*.*.com", "x/y", "-"])
def test_an_allowed_host_that_can_be_none_ends_the_operator_at_its_start(text: str) -> None:
    with pytest.raises(Invalid, match="allowedHosts"):
        parse_hosts(text)


@pytest.mark.parametrize("token", ["glpat-a\nb", "glpat-ä", "", " ", "a b", "tok\x00en", "x" * 5000])
def test_what_can_be_no_token_is_said_and_shown_nowhere(token: str) -> None:
    with pytest.raises(Invalid, match="can't be a token") as caught:
        GitLabConnector().connect("https://gitlab.example", token, None)
    assert caught.value.reason == "SecretBroken"
    assert "glpat" not in str(caught.value)


@pytest.mark.parametrize(
    "bundle", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_bundle_without_certificates_is_said(bundle: str) -> None:
    with pytest.raises(Invalid, match=r"spec\.gitlab\.caSecret") as caught:
        GitLabConnector().connect("https://gitlab.example", None, bundle)
    assert caught.value.reason == "SecretBroken"
