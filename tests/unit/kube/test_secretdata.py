"""Whatever stands in a Secret, reading it returns a value or says which key of which Secret is broken."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.errors import Invalid
from bessemer.kube.secretdata import SecretData, read_secret

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    max_leaves=8,
)


def encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


def test_reads_what_is_there() -> None:
    secret = read_secret({"data": {"token": encode(b"glrt-1"), "empty": ""}}, "oxygen")
    assert secret.require_text("token") == "glrt-1"
    assert secret.require_bytes("token") == b"glrt-1"
    assert (secret.get_bytes("empty"), secret.get_text("none")) == (b"", None)
    assert "token" in secret
    assert "none" not in secret


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("%%%", "Secret oxygen: key k is not base64"),
        (7, "Secret oxygen: key k is not base64"),
        (encode(b"\xff"), "Secret oxygen: key k is not text in UTF-8"),
        (encode(b"x" * 9), "Secret oxygen: key k is longer than 8 bytes"),
        ("", "Secret oxygen: key k is empty"),
    ],
)
def test_says_which_key_is_broken(value: object, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        SecretData("oxygen", {"k": value}).require_text("k", most=8)
    assert (caught.value.reason, caught.value.message) == ("SecretBroken", said)


@settings(deadline=None)
@given(JSON, st.text())
def test_no_secret_makes_reading_raise_anything_but_that_it_is_broken(data: object, key: str) -> None:
    for raw in (data, {"data": data}, {"data": {key: data}}):
        secret = read_secret(raw, "oxygen")  # type: ignore[arg-type]  # which is the point
        for read in (secret.get_bytes, secret.get_text, secret.require_bytes, secret.require_text):
            broken = None
            try:
                read(key)
            except Invalid as error:
                broken = error
            assert broken is None or (broken.reason == "SecretBroken" and broken.message.isprintable())


def test_a_value_is_in_no_message_and_no_repr() -> None:
    secret = read_secret({"data": {"token": "hunter2%"}}, "oxygen")
    with pytest.raises(Invalid) as caught:
        secret.require_text("token")
    assert "hunter2" not in caught.value.message
    assert "hunter2" not in repr(secret)
