"""ID tokens of GitLab's jobs: JSON Web Tokens that GitLab signs, checked with its published keys. Pure.

Source: https://docs.gitlab.com/ci/secrets/id_token_authentication/ and RFC 7519, 8725. The claims are texts, except for
times: "ref_protected" is "true" or "false". Nothing of a token is in a message.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from joserfc.errors import InvalidClaimError, JoseError, MissingClaimError
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry, deserialize_compact
from joserfc.jwt import JWTClaimsRegistry

from bessemer.errors import Invalid
from bessemer.foreign import Unreadable, decode_json, make_line

ALGORITHMS = {"RS256": "RSA", "ES256": "EC"}
"""Algorithms of signatures that are accepted, and the type of key of each. A key is never used for another algorithm:
a public RSA key must not be taken for the secret of HS256 (RFC 8725, 2.1)."""
MOST_BYTES = 8 * 1024
"""Of a token, which is sent in a header. GitLab's have about 2 KiB."""
HEADER_BYTES = 512
MOST_KEYS = 32
LEAST_BITS, MOST_BITS = 2048, 8192
"""Of an RSA key: larger ones take too long to check."""
EXPONENT_BYTES = 4
KEY_CHARACTERS = 2048
"""Of a member of a key as it is written."""
KEY_ID_CHARACTERS = 256
LEEWAY_SECONDS = 30
"""Maximum difference between GitLab's clock and ours."""
_HEADERS = frozenset({"alg", "kid", "typ"})
_TYPES = ("JWT", "at+jwt")
Keys = Mapping[str, RSAKey | ECKey]
"""Public keys by their IDs."""


class ProofRefused(Invalid):
    """A job has not proven who it is; the reason is a CamelCase word, and nothing of its token is in the message."""


@dataclass(frozen=True)
class TokenHeader:
    """What a token says of its signature; not to be trusted."""

    algorithm: str
    key_id: str


def parse_keys(raw: object) -> Keys:
    """Return the keys of a JSON Web Key Set that can sign ID tokens; others are left out. Raises Unreadable."""
    listed = raw.get("keys") if isinstance(raw, dict) else None
    if not isinstance(listed, list):
        raise Unreadable("no list of keys where there should be one")
    if len(listed) > MOST_KEYS:
        raise Unreadable(f"more than {MOST_KEYS} keys")
    found: dict[str, RSAKey | ECKey] = {}
    for one in listed:
        key_id = one.get("kid") if isinstance(one, dict) else None
        key = _parse_key(one) if isinstance(key_id, str) and len(key_id) <= KEY_ID_CHARACTERS else None
        if key is not None and isinstance(key_id, str):
            found[key_id] = key
    return found


def _parse_key(raw: dict[str, Any]) -> RSAKey | ECKey | None:
    """Return a public key that can sign ID tokens; None for anything else, such as a key that is too short."""
    kind = raw.get("kty")
    algorithm = next((name for name, one in ALGORITHMS.items() if one == kind), None)
    if algorithm is None or raw.get("use", "sig") != "sig" or raw.get("alg", algorithm) != algorithm:
        return None
    members = {name: raw.get(name) for name in (("kty", "n", "e") if kind == "RSA" else ("kty", "crv", "x", "y"))}
    texts: dict[str, str | list[str]] = {
        name: value for name, value in members.items() if isinstance(value, str) and len(value) <= KEY_CHARACTERS
    }
    try:
        if len(texts) != len(members):
            return None
        if kind == "EC":
            return ECKey.import_key(texts) if texts["crv"] == "P-256" else None
        bits = 8 * len(_decode_base64(str(texts["n"])).lstrip(b"\0"))
        short = len(_decode_base64(str(texts["e"])).lstrip(b"\0")) <= EXPONENT_BYTES
        return RSAKey.import_key(texts) if LEAST_BITS <= bits <= MOST_BITS and short else None
    except (JoseError, ValueError, TypeError):
        return None


def read_header(token: str) -> TokenHeader:
    """Return what a token says of its signature; raises ProofRefused TokenBroken, AlgorithmNotAllowed."""
    if len(token) > MOST_BYTES:
        raise ProofRefused("TokenBroken", f"the ID token is longer than {MOST_BYTES} bytes")
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise ProofRefused("TokenBroken", "the ID token is not a signed JSON Web Token of three parts")
    header = _decode_part(parts[0], HEADER_BYTES, "header")
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        text = f"the ID token must be signed with {' or '.join(ALGORITHMS)}, not {make_line(str(algorithm), 16)}"
        raise ProofRefused("AlgorithmNotAllowed", text)
    if not isinstance(key_id, str) or not key_id or len(key_id) > KEY_ID_CHARACTERS:
        raise ProofRefused("TokenBroken", "the ID token does not name the key that it is signed with")
    if not _HEADERS.issuperset(header) or header.get("typ", "JWT") not in _TYPES:
        raise ProofRefused("TokenBroken", "the ID token has a header that those of GitLab don't have")
    return TokenHeader(algorithm, key_id)


def verify_token(token: str, keys: Keys, issuer: str, audience: str, now: datetime) -> dict[str, Any]:
    """Return the claims of a token.

    Raises ProofRefused: TokenBroken, AlgorithmNotAllowed, UnknownKey, BadSignature, TokenExpired, TokenNotYetValid,
    WrongIssuer, WrongAudience.
    """
    header = read_header(token)
    key = keys.get(header.key_id)
    if key is None:
        raise ProofRefused("UnknownKey", "the ID token is signed with a key that GitLab does not publish")
    if key.key_type != ALGORITHMS[header.algorithm]:
        raise ProofRefused("AlgorithmNotAllowed", f"the key of the ID token is not for {header.algorithm}")
    claims = _decode_part(token.split(".")[1], MOST_BYTES, "payload")
    registry = JWSRegistry(algorithms=[header.algorithm])
    try:
        deserialize_compact(token, key, registry=registry)
    except (JoseError, ValueError, TypeError):
        raise ProofRefused("BadSignature", "the signature of the ID token is not GitLab's") from None
    _check_claims(claims, issuer, audience, now)
    return claims


def _check_claims(claims: dict[str, Any], issuer: str, audience: str, now: datetime) -> None:
    """Check for whom and when a token is valid. ``exp`` is required, and ``aud`` may be a list."""
    registry = JWTClaimsRegistry(
        int(now.timestamp()),
        LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
    )
    try:
        registry.validate(claims)
    except MissingClaimError as error:
        raise ProofRefused("TokenBroken", f"the ID token lacks claims: {error.description}") from None
    except InvalidClaimError as error:
        raise ProofRefused(*_explain_claim(error.claim, issuer, audience)) from None
    except JoseError:
        raise ProofRefused(
            "TokenExpired", "the ID token has expired: the job has run for longer than it is valid"
        ) from None


def _explain_claim(claim: str, issuer: str, audience: str) -> tuple[str, str]:
    return {
        "iss": ("WrongIssuer", f"the ID token is not of {make_line(issuer, 200)}"),
        "aud": ("WrongAudience", f"the ID token is for another audience than {make_line(audience, 200)}"),
        "nbf": ("TokenNotYetValid", "the ID token is not valid yet: do the clocks differ?"),
        "iat": ("TokenNotYetValid", "the ID token was issued in the future: do the clocks differ?"),
    }.get(claim, ("TokenBroken", f"the claim {make_line(claim, 16)} of the ID token is not of the documented form"))


def _decode_part(part: str, most: int, name: str) -> dict[str, Any]:
    try:
        value = decode_json(_decode_base64(part), most_bytes=most)
    except ValueError:
        raise ProofRefused("TokenBroken", f"the {name} of the ID token can't be read") from None
    if not isinstance(value, dict):
        raise ProofRefused("TokenBroken", f"the {name} of the ID token is not an object")
    return value


def _decode_base64(text: str) -> bytes:
    """Return the bytes of a text in base64url without padding (RFC 7515, 2); raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
