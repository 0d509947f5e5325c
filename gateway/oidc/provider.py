"""An OpenID provider: what it says of itself, the exchange of a code, and the check of an ID token.

https://openid.net/specs/openid-connect-core-1_0.html sections 3.1.3 and 3.1.3.7, and
https://openid.net/specs/openid-connect-discovery-1_0.html.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from gateway.oidc.address import check_address
from services.chassis.errors import Unauthenticated, Unavailable
from services.chassis.logging import get_logger

log = get_logger(__name__)

LEEWAY_S = 60
"""How far the provider's clock may be from ours."""
# Only keys that the provider alone holds; by an HMAC whoever knows the client's secret could sign.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_DESCRIBED_S = 3600.0
# A stranger's token with an unknown key id must not make us ask the provider each time.
_KEYS_AGAIN_S = 10.0
_AGAIN = "Sign in again; if it fails again, tell the operator."


@dataclass(frozen=True)
class Client:
    """How the provider knows the console. secret: read anew for each exchange; None for a public client."""

    id: str
    secret: Callable[[], str] | None = None


class Provider:
    """One provider. http: made and closed by whoever makes this; it follows no redirects."""

    def __init__(
        self, issuer: str, client: Client, http: httpx.AsyncClient, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.issuer = issuer
        self.client = client
        self._http = http
        self._clock = clock
        self._described: dict[str, Any] = {}
        self._described_at = 0.0
        self._keys: dict[str, jwt.PyJWK] = {}
        self._keys_at: float | None = None

    async def endpoint(self, name: str) -> str:
        """An address from the discovery document, "" when it has none. Raises Unavailable(OIDC_UNAVAILABLE)."""
        if not self._described or self._clock() - self._described_at > _DESCRIBED_S:
            found = await self._read(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self.issuer:
                raise _away(f"it calls itself {str(found.get('issuer'))[:200]}")
            self._described, self._described_at = found, self._clock()
        address = str(self._described.get(name) or "")
        if address:
            try:
                check_address(address)
            except ValueError as error:
                raise _away(f"its {name}: {error}") from error
        return address

    async def claims(self, *, code: str, redirect_uri: str, verifier: str, nonce: str) -> Mapping[str, object]:
        """The checked claims of the ID token that a code is good for.

        Raises Unauthenticated: OIDC_CODE_REFUSED, OIDC_TOKEN_WRONG; Unavailable(OIDC_UNAVAILABLE).
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": self.client.id,
        }
        secret = self.client.secret() if self.client.secret else ""
        methods = await self._methods()
        basic = secret and ("client_secret_basic" in methods or not methods)
        if secret and not basic:
            form["client_secret"] = secret
        try:
            answer = await self._http.post(
                await self.endpoint("token_endpoint"),
                data=form,
                auth=httpx.BasicAuth(self.client.id, secret) if basic else httpx.USE_CLIENT_DEFAULT,
            )
        except httpx.HTTPError as error:
            raise _away(type(error).__name__) from error
        if answer.status_code >= 500:
            raise _away(f"status {answer.status_code}")
        if answer.status_code != 200:
            log.warning("oidc_code_refused", status=answer.status_code, error=_error_of(answer))
            raise Unauthenticated(
                "The identity provider did not take the code", reason="OIDC_CODE_REFUSED", remedy=_AGAIN
            )
        token = _json_of(answer).get("id_token")
        return await self._checked(token if isinstance(token, str) else "", nonce)

    async def _checked(self, token: str, nonce: str) -> Mapping[str, object]:
        try:
            key = await self._key(str(jwt.get_unverified_header(token).get("kid") or ""))
            claims: dict[str, object] = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=self.client.id,
                issuer=self.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "iss", "aud", "sub", "nonce"]},
            )
        except jwt.PyJWTError as error:
            raise _wrong(str(error)) from error
        audience = claims["aud"]
        party = claims.get("azp")
        if party not in (None, self.client.id) or (isinstance(audience, list) and len(audience) > 1 and not party):
            raise _wrong("it was issued for another client")
        if not hmac.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
            raise _wrong("it answers another sign-in")
        return claims

    async def _key(self, kid: str) -> jwt.PyJWK:
        """The key of this id; the set is read again when it has none, because the provider may have changed keys."""
        found = self._pick(kid)
        if found is None and (self._keys_at is None or self._clock() - self._keys_at >= _KEYS_AGAIN_S):
            self._keys_at = self._clock()
            document = await self._read(await self.endpoint("jwks_uri"))
            try:
                keys = jwt.PyJWKSet.from_dict(document).keys
            except jwt.PyJWTError as error:
                raise _away(f"its keys: {error}") from error
            self._keys = {key.key_id or "": key for key in keys if key.public_key_use in (None, "sig")}
            found = self._pick(kid)
        if found is None:
            raise _wrong("it is signed with a key that the provider does not have")
        return found

    def _pick(self, kid: str) -> jwt.PyJWK | None:
        # A provider with one key may leave its id out of the token.
        only = next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid) if kid else only

    async def _methods(self) -> list[str]:
        await self.endpoint("token_endpoint")
        found = self._described.get("token_endpoint_auth_methods_supported")
        return [str(each) for each in found] if isinstance(found, list) else []

    async def _read(self, address: str) -> dict[str, Any]:
        try:
            answer = await self._http.get(address)
        except httpx.HTTPError as error:
            raise _away(type(error).__name__) from error
        if answer.status_code != 200:
            raise _away(f"status {answer.status_code}")
        found = _json_of(answer)
        if not found:
            raise _away("its answer is no JSON object")
        return found


def _json_of(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _error_of(answer: httpx.Response) -> str:
    return str(_json_of(answer).get("error", ""))[:100]


def _wrong(why: str) -> Unauthenticated:
    log.warning("oidc_token_wrong", why=why)
    return Unauthenticated("The identity provider's token is not valid", reason="OIDC_TOKEN_WRONG", remedy=_AGAIN)


def _away(why: str) -> Unavailable:
    log.error("oidc_unavailable", why=why)
    return Unavailable("The identity provider does not answer", reason="OIDC_UNAVAILABLE", remedy="Try again later.")
