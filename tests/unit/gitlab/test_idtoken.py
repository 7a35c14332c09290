"""ID tokens: what is accepted, and that every forgery is refused with its reason and without a piece of the token."""

from __future__ import annotations

import base64
import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey

from bessemer.foreign import Unreadable
from bessemer.gitlab.idtoken import LEEWAY_SECONDS, MOST_KEYS, Keys, ProofRefused, parse_keys, verify_token
from tests.support.issuer import AUDIENCE, CLAIMS, Issuer, make_key, sign

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
ISSUER = Issuer()
KEYS = parse_keys(ISSUER.publish())


def verify(token: str, keys: Keys = KEYS, now: datetime = NOW) -> dict[str, Any]:
    return verify_token(token, keys, ISSUER.name, AUDIENCE, now)


def find_reason(token: str, keys: Keys = KEYS, now: datetime = NOW) -> str:
    with pytest.raises(ProofRefused) as refused:
        verify(token, keys, now)
    assert refused.value.message.isprintable()
    assert not any(part and part in refused.value.message for part in token.split(".") if len(part) > 8)
    return refused.value.reason


def encode(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_a_token_of_gitlab_is_accepted_with_its_claims() -> None:
    assert verify(ISSUER.issue(NOW)).items() >= CLAIMS.items()


def test_a_token_with_several_audiences_is_accepted_for_each() -> None:
    assert verify(ISSUER.issue(NOW, aud=["vault", AUDIENCE]))["project_id"] == "20"


def test_a_token_signed_with_an_elliptic_curve_is_accepted() -> None:
    key = ECKey.generate_key("P-256", {"kid": "curve"})
    keys = parse_keys(Issuer(keys={"curve": key}).publish())
    assert verify(ISSUER.issue(NOW, key=key), keys)["job_id"] == "302"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "https://vault.example.org"}, "WrongAudience"),
        ({"aud": []}, "WrongAudience"),
        ({"aud": {"any": AUDIENCE}}, "WrongAudience"),
        ({"aud": None}, "TokenBroken"),
        ({"iss": "https://gitlab.com"}, "WrongIssuer"),
        ({"iss": None}, "TokenBroken"),
        ({"exp": None}, "TokenBroken"),
        ({"exp": "tomorrow"}, "TokenBroken"),
        ({"exp": True}, "TokenBroken"),
    ],
)
def test_a_token_for_another_audience_or_of_another_issuer_is_refused(claims: dict[str, Any], reason: str) -> None:
    assert find_reason(ISSUER.issue(NOW, **claims)) == reason


def test_a_token_is_valid_until_its_end_and_a_little_longer_as_clocks_differ() -> None:
    token = ISSUER.issue(NOW)
    verify(token, now=NOW + timedelta(seconds=300 + LEEWAY_SECONDS - 1))
    assert find_reason(token, now=NOW + timedelta(seconds=300 + LEEWAY_SECONDS)) == "TokenExpired"
    assert find_reason(token, now=NOW - timedelta(seconds=LEEWAY_SECONDS + 6)) == "TokenNotYetValid"


def test_a_token_without_a_signature_is_refused() -> None:
    header, payload, signature = ISSUER.issue(NOW).split(".")
    for name in ("none", "None", "NONE", ""):
        unsigned = encode({"alg": name, "kid": "one"})
        assert find_reason(f"{unsigned}.{payload}.") == "AlgorithmNotAllowed"
        assert find_reason(f"{unsigned}.{payload}.{signature}") == "AlgorithmNotAllowed"
    assert find_reason(f"{header}.{payload}.") == "BadSignature"


def test_the_public_key_is_no_secret_for_another_algorithm() -> None:
    public = ISSUER.keys["one"].as_pem(private=False)
    # joserfc refuses to sign with a public key in PEM, as forgers would: so without its lines.
    for secret in (public.replace(b"-----", b""), json.dumps(ISSUER.publish()["keys"][0]).encode()):
        token = sign(OctKey.import_key(secret), CLAIMS, {"kid": "one"})
        assert find_reason(token) == "AlgorithmNotAllowed"


def test_the_key_of_one_algorithm_is_not_used_for_another() -> None:
    _, payload, signature = ISSUER.issue(NOW).split(".")
    assert find_reason(f"{encode({'alg': 'ES256', 'kid': 'one'})}.{payload}.{signature}") == "AlgorithmNotAllowed"


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": make_key("own").as_dict(private=False)},
        {"jku": "https://forger.example.org/keys"},
        {"x5u": "https://forger.example.org/chain"},
        {"crit": ["b64"], "b64": False},
    ],
    ids=["jwk", "jku", "x5u", "b64"],
)
def test_a_token_that_brings_or_names_its_own_key_is_refused(header: dict[str, Any]) -> None:
    _, payload, signature = ISSUER.issue(NOW).split(".")
    token = f"{encode({'alg': 'RS256', 'kid': 'one'} | header)}.{payload}.{signature}"
    assert find_reason(token) == "TokenBroken"


def test_another_key_of_the_same_name_does_not_sign_for_gitlab() -> None:
    assert find_reason(ISSUER.issue(NOW, key=make_key("one", "forger"))) == "BadSignature"


def test_a_key_that_is_published_no_more_does_not_sign_for_gitlab() -> None:
    token = ISSUER.issue(NOW)
    assert find_reason(token, parse_keys(Issuer(keys={"two": make_key("two")}).publish())) == "UnknownKey"


def test_changed_claims_are_refused() -> None:
    header, _, signature = ISSUER.issue(NOW).split(".")
    payload = encode(CLAIMS | {"project_id": "21", "iss": ISSUER.name, "aud": AUDIENCE, "exp": 2**40})
    assert find_reason(f"{header}.{payload}.{signature}") == "BadSignature"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        "\ud800.a.b",
        f"{encode([])}.{encode({})}.x",
        f"{encode({'alg': 'RS256'})}.{encode({})}.x",
        f"{encode({'alg': 'RS256', 'kid': ['one']})}.{encode({})}.x",
        f"{encode({'alg': 'RS256', 'kid': 'one'})}.{encode([])}.x",
        f"{encode({'alg': 'RS256', 'kid': 'one'})}.{encode({'a': 1e999})}.x",
        "x" * 20_000,
        f"{encode({'alg': 'RS256', 'kid': 'one', 'typ': 'x' * 600})}.{encode({})}.x",
        f"{encode({'alg': 'RS256', 'kid': 'one', 'typ': []})}.{encode({})}.x",
        f"{encode({'alg': 'RS256', 'kid': 'one', 'typ': {}})}.{encode({})}.x",
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert find_reason(token) == "TokenBroken"


def test_a_nested_payload_is_refused_before_it_is_decoded() -> None:
    header = ISSUER.issue(NOW).split(".")[0]
    deep = base64.urlsafe_b64encode(b'{"a":' * 2000 + b"1" + b"}" * 2000).decode().rstrip("=")
    assert find_reason(f"{header}.{deep}.x") == "TokenBroken"


@given(st.text(max_size=200) | st.lists(st.binary(max_size=60), min_size=3, max_size=3))
def test_any_text_is_refused_or_accepted_but_never_an_error(drawn: str | list[bytes]) -> None:
    text = drawn if isinstance(drawn, str) else ".".join(base64.urlsafe_b64encode(one).decode() for one in drawn)
    with pytest.raises(ProofRefused):
        verify(text)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda one: (
        st.lists(one)
        | st.dictionaries(st.sampled_from(["kty", "kid", "n", "e", "crv", "x", "y", "use", "alg", "keys"]), one)
    ),
)


@given(_json)
def test_any_answer_is_a_list_of_keys_or_unreadable(raw: object) -> None:
    with contextlib.suppress(Unreadable):
        assert isinstance(parse_keys(raw), dict)


def make_public(bits: int, exponent: int = 65537) -> dict[str, Any]:
    numbers = rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key().public_numbers()

    def write(number: int) -> str:
        return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode().rstrip("=")

    return {"kty": "RSA", "kid": "weak", "n": write(numbers.n), "e": write(exponent)}


def test_keys_that_are_weak_slow_or_for_something_else_are_left_out() -> None:
    good = ISSUER.publish()["keys"][0]
    curve = ECKey.generate_key("P-256").as_dict(private=False) | {"kid": "curve"}
    bad = [
        make_public(1024),
        make_public(2048, 2**60 + 1),
        good | {"kid": "use", "use": "enc"},
        good | {"kid": "alg", "alg": "RS512"},
        {"kty": "oct", "k": "AAAA", "kid": "secret"},
        curve | {"kid": "off", "x": curve["y"]},
        ECKey.generate_key("P-384").as_dict(private=False) | {"kid": "other"},
        good | {"kid": 7},
        good | {"kid": "long", "n": "A" * 3000},
        "key",
    ]
    assert set(parse_keys({"keys": [*bad, good, curve]})) == {"one", "curve"}
    with pytest.raises(Unreadable):
        parse_keys({"keys": [good] * (MOST_KEYS + 1)})


def test_a_private_key_by_mistake_is_kept_as_public_alone() -> None:
    private = ISSUER.keys["one"].as_dict(private=True) | {"kid": "one"}
    key = parse_keys({"keys": [private]})["one"]
    assert not key.is_private
    public: Any = key.raw_value  # joserfc declares it as either half of a key
    assert public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
