"""Manifests are read as kubectl reads them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.cli.manifest import parse_manifest
from bessemer.errors import Invalid
from bessemer.manifest.kubeyaml import read_documents
from tests.support.world import EXAMPLE


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("52:54:00:11:22:33", "52:54:00:11:22:33"),
        ("10:20", "10:20"),
        ("1:30:15.5", "1:30:15.5"),
        ("2026-11-23", "2026-11-23"),
        ("2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z"),
        ("010", 8),
        ("0o17", 15),
        ("08", 8),
        ("0x1f", 31),
        ("0b101", 5),
        ("-7", -7),
        ("+7", 7),
        ("1_000", 1000),
        ("1e3", 1000),
        ("1.5", 1.5),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 2.0**63),
        ("0xffffffffffffffffff", 2.0**72),
        ("1e30", 1e30),
        (".5", 0.5),
        ("5.", 5),
        ("6.8.0", "6.8.0"),
        ("1.2.3.4", "1.2.3.4"),
        ("yes", True),
        ("Off", False),
        ("y", True),
        ("~", None),
        ("", None),
        ("null", None),
        ('"yes"', "yes"),
        ("'010'", "010"),
        ("75%", "75%"),
        ("{7: a, true: b, 1.5: c, x: d}", {"7": "a", "true": "b", "1.5": "c", "x": "d"}),
        ("!!str 7", "7"),
        ("{<<: {a: 1}, b: 2}", {"a": 1, "b": 2}),
        ("=", "="),
        (".inf", ".inf"),
    ],
)
def test_a_value_is_what_kubectl_makes_of_it(text: str, value: Any) -> None:
    assert read_documents(f"a: {text}") == [{"a": value}]


@pytest.mark.parametrize(
    "text", ["[" * 3000, "a: " + "9" * 5000, "a: " + "9" * 400, "? [1]\n: 2", "a: !!python/none", "a: 1e999999\n\0"]
)
def test_what_is_no_manifest_is_an_error_and_no_traceback(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_documents(text)
    with pytest.raises(Invalid):
        parse_manifest(text, {"ClusterBuild": ClusterBuildSpec})


@pytest.mark.parametrize(
    "tag", ["binary aGk=", "set {x}", "omap [x: 1]", "pairs [x: 1]", "timestamp 2001-01-01", "x y"]
)
def test_a_value_of_a_type_that_json_does_not_have_is_refused(tag: str) -> None:
    with pytest.raises(yaml.YAMLError, match="could not determine a constructor for the tag"):
        read_documents(f"a: !!{tag}")


@settings(deadline=None)
@given(
    st.sampled_from(["str", "bool", "int", "float", "null", "seq", "map", "set", "binary", "merge", "x"]),
    st.sampled_from(["x", "1", "''", "[1]", "{a: 1}", "[]", "{}", "1e999", "null", r'"\ud800"', "2001-01-01"]),
)
def test_whatever_a_tag_says_the_value_is_json_or_refused(tag: str, value: str) -> None:
    try:
        [document] = read_documents(f"a: !!{tag} {value}")
    except yaml.YAMLError:
        return
    json.dumps(document, ensure_ascii=False).encode()


@pytest.mark.parametrize("text", [r'"\ud800"', r'{"\udfff": 1}', r'["a\ud83d"]'])
def test_half_a_character_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="half a character"):
        read_documents(f"a: {text}")


@pytest.mark.parametrize("link", ["[{}]", "{{k: [{}]}}", "{{<<: [{}], k: 1}}"])
def test_aliases_that_repeat_too_much_are_refused_before_anything_is_built(link: str) -> None:
    levels = [f"a{level}: &a{level} {link.format(','.join([f'*a{level - 1}'] * 9))}\n" for level in range(1, 30)]
    with pytest.raises(yaml.YAMLError, match="more than 400000 values"):
        read_documents("a0: &a0 {x: 1}\n" + "".join(levels))
    assert read_documents("a0: &a0 {x: 1}\n" + "".join(levels[:3]))


def test_many_documents_are_bounded_together() -> None:
    document = f"a: &a [{'x,' * 600}]\nb: [{'*a,' * 200}]\n"
    assert len(read_documents("---\n".join([document] * 3))) == 3
    with pytest.raises(yaml.YAMLError, match="more than 400000 values"):
        read_documents("---\n".join([document] * 4))


@settings(deadline=None)
@given(st.from_regex(r"\A[-+0-9_.eExXoObB:]{1,12}\Z") | st.text(max_size=12))
def test_no_scalar_makes_reading_raise_anything_but_that_it_is_no_yaml(text: str) -> None:
    try:
        (document,) = read_documents(f"a: {text}\n") or [None]
    except (yaml.YAMLError, ValueError) as error:
        assert isinstance(error, yaml.YAMLError) or "unpack" in str(error)  # noqa: PT017  more documents than one
        return
    found = document.get("a") if isinstance(document, dict) else None
    assert not isinstance(found, float) or not math.isnan(found)
    assert not isinstance(found, int) or -(2**63) <= found < 2**63


def test_mac_addresses_need_no_quotation_marks() -> None:
    text = EXAMPLE.read_text().replace('"52:54:00:8d:00:02"', "52:54:00:11:22:33")
    kind, _, spec = parse_manifest(text, {"ClusterBuild": ClusterBuildSpec})
    assert kind == "ClusterBuild"
    assert isinstance(spec, ClusterBuildSpec)
    assert spec.compute.macs[0] == "52:54:00:11:22:33"


def test_a_spec_that_no_config_map_can_hold_is_refused() -> None:
    text = EXAMPLE.read_text().replace("      time_chrony", f"      filler: {'x' * 1_100_000}\n      time_chrony")
    with pytest.raises(Invalid, match="spec: is longer than 1044480 bytes"):
        parse_manifest(text, {"ClusterBuild": ClusterBuildSpec})
