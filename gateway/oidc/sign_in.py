"""`/console/oidc`: a browser goes to the identity provider, comes back with a code, and has a session.

    GET /console/oidc            {"name": …} of the provider, for the sign-in page; 404 without one
    GET /console/oidc/start      sends the browser to the provider; ?to=/PROJECT/… is where it ends up in the console
    GET /console/oidc/callback   takes the provider's answer, and sends the browser to the console with its cookie

Nothing is kept between the two but a cookie in that browser, from which state, nonce and PKCE's verifier follow, so
that replicas need not know of each other and strangers cannot fill a disk. The cookie is SameSite=Lax, because the
provider's page leads to the callback; the session's own stays Strict.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlencode

from fiveshot.gateway.v1 import external_auth_pb2 as pb

from gateway.audit import SIGN_IN, GatewayAudit
from gateway.authz import Authorizer
from gateway.check_answers import http_status, told
from gateway.oidc.provider import Provider
from gateway.sessions import OIDC_PATH, SessionFolder, set_cookie
from services.chassis.errors import DomainError, InvalidArgument, NotFound, Unauthenticated

COOKIE = "fiveshot_oidc"
MINUTES = 10
"""How long somebody may take at the provider."""
_PLACE = re.compile(r"(/[A-Za-z0-9._-]*)*")
_AGAIN = "Go back to the console and sign in again."


class OidcSignIn:
    """Answers the calls below OIDC_PATH. public_url: where browsers reach the gateway, without a slash at the end."""

    def __init__(
        self,
        provider: Provider | None,
        authorizer: Authorizer,
        sessions: SessionFolder,
        *,
        public_url: str = "",
        scopes: str = "openid",
        name: str = "",
        hours: float = 8,
        audit: GatewayAudit | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._provider = provider
        self._authorizer = authorizer
        self._sessions = sessions
        self._public_url = public_url
        self._scopes = scopes
        self._name = name
        self._hours = hours
        self._audit = audit
        self._clock = clock

    async def answer(self, http: pb.AttributeContext.HttpRequest) -> pb.CheckResponse:
        """The whole answer: JSON for the page's script, text for a person whose sign-in failed."""
        path, _, query = http.path.partition("?")
        try:
            provider = self._known_provider()
            match http.method, path.removeprefix(OIDC_PATH):
                case "GET", "":
                    return told(200, json.dumps({"name": self._name}))
                case "GET", "/start":
                    return await self._start(provider, _one(query, "to"))
                case "GET", "/callback":
                    return await self._callback(provider, http, query)
            raise NotFound("There is nothing here", reason="PAGE_UNKNOWN", remedy=_AGAIN)
        except DomainError as error:
            if self._audit is not None:
                self._audit.refused(http, error, None)
            text = f"Signing in failed: {error.message}. {error.remedy} ({error.reason})\n"
            return told(http_status(error), text, {"content-type": "text/plain; charset=utf-8"})

    async def _start(self, provider: Provider, place: str) -> pb.CheckResponse:
        if not _PLACE.fullmatch(place) or len(place) > 300:
            raise InvalidArgument(
                "The address to return to is none of the console's",
                field="to",
                reason="RETURN_ADDRESS_WRONG",
                remedy="Leave `to` out, or give a place in the console such as /default/datasets/dogs/photos.",
            )
        attempt = _Attempt.new(self._clock(), place)
        asked = {
            "response_type": "code",
            "client_id": provider.client.id,
            "redirect_uri": self._redirect_uri,
            "scope": self._scopes,
            "state": attempt.derived("state"),
            "nonce": attempt.derived("nonce"),
            "code_challenge": _s256(attempt.derived("verifier")),
            "code_challenge_method": "S256",
        }
        address = f"{await provider.endpoint('authorization_endpoint')}?{urlencode(asked)}"
        return told(302, "", {"location": address}, [self._cookie(attempt.cookie, MINUTES * 60)])

    async def _callback(
        self, provider: Provider, http: pb.AttributeContext.HttpRequest, query: str
    ) -> pb.CheckResponse:
        attempt = _Attempt.of(_cookie_in(http.headers), self._clock())
        if attempt is None or not hmac.compare_digest(attempt.derived("state").encode(), _one(query, "state").encode()):
            raise Unauthenticated(
                "This answer belongs to no sign-in of this browser, or took too long",
                reason="OIDC_STATE_WRONG",
                remedy=_AGAIN,
            )
        if _one(query, "iss") not in ("", provider.issuer):
            raise Unauthenticated("Another identity provider has answered", reason="OIDC_ISSUER_WRONG", remedy=_AGAIN)
        code = _one(query, "code")
        if not code:
            raise Unauthenticated(
                "The identity provider did not sign you in", reason="OIDC_SIGN_IN_REFUSED", remedy=_AGAIN
            )
        claims = await provider.claims(
            code=code,
            redirect_uri=self._redirect_uri,
            verifier=attempt.derived("verifier"),
            nonce=attempt.derived("nonce"),
        )
        caller = self._authorizer.of_claims(claims)
        if not self._sessions.use_answer(attempt.derived("state"), minutes=MINUTES):
            raise Unauthenticated("This answer was used before", reason="OIDC_ANSWER_USED", remedy=_AGAIN)
        subject = caller.principal.removeprefix("jwt:")
        token, session = self._sessions.open_as(subject, caller.projects, str(caller.role), hours=self._hours)
        if self._audit is not None:
            self._audit.signed(http, SIGN_IN, self._authorizer.of_session(session))
        seconds = int(self._hours * 3600)
        cookies = [set_cookie(token, seconds=seconds, secure=self._secure), self._cookie("", 0)]
        return told(302, "", {"location": f"/#{attempt.place}" if attempt.place else "/"}, cookies)

    def _known_provider(self) -> Provider:
        if self._provider is None:
            raise NotFound(
                "This deployment has no identity provider",
                reason="OIDC_OFF",
                remedy="Run `fiveshot console` on the machine of the stack, or enter an API key.",
            )
        return self._provider

    @property
    def _redirect_uri(self) -> str:
        return f"{self._public_url}{OIDC_PATH}/callback"

    @property
    def _secure(self) -> bool:
        return self._public_url.startswith("https://")

    def _cookie(self, value: str, seconds: int) -> str:
        secure = "; Secure" if self._secure else ""
        return f"{COOKIE}={value}; Path={OIDC_PATH}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


class _Attempt:
    """One try to sign in, as it lies in the browser's cookie: `{began}.{secret}.{place}`."""

    def __init__(self, began: int, secret: str, place: str) -> None:
        self.place = place
        self._secret = secret
        self.cookie = f"{began}.{secret}.{base64.urlsafe_b64encode(place.encode()).decode().rstrip('=')}"

    @classmethod
    def new(cls, now: float, place: str) -> _Attempt:
        return cls(int(now), secrets.token_urlsafe(32), place)

    @classmethod
    def of(cls, cookie: str, now: float) -> _Attempt | None:
        """The attempt of a cookie; None when it is none of ours or too old. Its browser may have made it up: that harms
        nobody else."""
        parts = cookie.split(".")
        if len(parts) != 3 or not parts[0].isdigit() or not 0 <= now - int(parts[0]) <= MINUTES * 60:
            return None
        try:
            place = base64.urlsafe_b64decode(parts[2] + "=" * (-len(parts[2]) % 4)).decode("ascii")
        except ValueError:
            return None
        return cls(int(parts[0]), parts[1], place) if _PLACE.fullmatch(place) and len(parts[1]) >= 43 else None

    def derived(self, purpose: str) -> str:
        """43 characters that only the holder of the cookie can know, others for each purpose."""
        mac = hmac.new(self.cookie.encode(), purpose.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(mac).decode("ascii").rstrip("=")


def _s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode("ascii").rstrip("=")


def _cookie_in(headers: Mapping[str, str]) -> str:
    for each in headers.get("cookie", "").split(";"):
        name, _, value = each.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _one(query: str, name: str) -> str:
    """A parameter that may come once; one that comes twice means nothing."""
    found = parse_qs(query, keep_blank_values=True, max_num_fields=50).get(name, [])
    return found[0] if len(found) == 1 else ""
