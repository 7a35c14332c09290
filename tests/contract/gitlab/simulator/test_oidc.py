"""The tokens of ``id_tokens:`` as a library that knows nothing of GitLab checks them."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from joserfc import jwt
from joserfc.errors import InvalidClaimError, JoseError
from joserfc.jwk import KeySet

from tests.contract.gitlab.conftest import Site
from tests.contract.gitlab.simulator.test_deployments import start_job

COMMITS = [{"files": {"build.yaml": "x\n"}}]
AUDIENCE = "https://bessemer.test"


@pytest.fixture
def admin(site: Site) -> str:
    return site.control.seed(
        projects=[{"path": "hpc/site", "commits": COMMITS}],
        users=[{"username": "developer", "access": {"hpc": 30}}, {"username": "admin", "admin": True}],
        tokens=[{"user": "admin", "name": "admin"}],
    )["admin"]


def get_token(site: Site, admin: str, **job: Any) -> str:
    got = start_job(site, admin, id_tokens={"BESSEMER": {"aud": AUDIENCE}}, **job)
    (variable,) = (one for one in got["variables"] if one["key"] == "BESSEMER")
    assert (variable["public"], variable["masked"]) == (False, True)
    return str(variable["value"])


def read(site: Site, token: str, audience: str = AUDIENCE) -> dict[str, Any]:
    """Find the keys by the issuer, as a client does, and check the token."""
    about = requests.get(f"{site.url}/.well-known/openid-configuration", timeout=10).json()
    assert about["issuer"] == site.url
    keys = KeySet.import_key_set(requests.get(about["jwks_uri"], timeout=10).json())
    claims = jwt.decode(token, keys, about["id_token_signing_alg_values_supported"]).claims
    wanted = {"iss": site.url, "aud": audience}
    rules: Any = {name: {"essential": True, "value": value} for name, value in wanted.items()}
    jwt.JWTClaimsRegistry(**rules).validate(claims)
    return claims


def test_a_token_says_what_its_job_is(site: Site, admin: str) -> None:
    claims = read(site, get_token(site, admin, environment={"name": "prod"}, timeout=600))
    numbers = {name: claims[name] for name in claims if name.endswith("_id") and name != "runner_id"}
    assert all(isinstance(value, str) and value.isdecimal() for value in numbers.values()), numbers
    assert claims["sub"] == "project_path:hpc/site:ref_type:branch:ref:main"
    said = ("project_path", "user_login", "user_access_level", "ref", "ref_protected", "environment", "pipeline_source")
    assert [claims[name] for name in said] == ["hpc/site", "developer", "developer", "main", "true", "prod", "push"]
    assert (claims["exp"] - claims["iat"], claims["iat"] - claims["nbf"]) == (600, 5)


def test_a_token_is_for_its_audience_alone(site: Site, admin: str) -> None:
    token = get_token(site, admin)
    with pytest.raises(InvalidClaimError, match="aud"):
        read(site, token, "https://other.test")


def test_a_token_of_an_old_key_is_read_for_as_long_as_the_key_is_told(site: Site, admin: str) -> None:
    token = get_token(site, admin)
    site.control.rotate_keys(keep=True)
    assert read(site, token)["project_path"] == "hpc/site"
    site.control.rotate_keys(keep=False)
    with pytest.raises((JoseError, ValueError)):
        read(site, token)
    assert read(site, site.control.sign(iss=site.url, aud=AUDIENCE, exp=2**32, project_id="1"))["project_id"] == "1"
