"""How others find the keys of tokens: https://docs.gitlab.com/ci/secrets/id_token_authentication/"""

from __future__ import annotations

from aiohttp import web

from .oidc import build_discovery
from .state import GitLabState


class OidcApi:
    """Routes that take no token."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        router.add_get("/.well-known/openid-configuration", self.discover)
        router.add_get("/oauth/discovery/keys", self.list_keys)

    async def discover(self, _: web.Request) -> web.Response:
        """Return where the keys are."""
        return web.json_response(build_discovery(self._state.external_url))

    async def list_keys(self, _: web.Request) -> web.Response:
        """Return the keys."""
        return web.json_response(self._state.keys.build_jwks())
