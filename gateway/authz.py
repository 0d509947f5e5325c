"""The authorization service: who is calling, and which projects may they touch?

Envoy asks before every call (its ext_authz filter) and adds the answer as headers, which the services check again
against the names in the request. A caller shows an API key (`x-api-key`, or `authorization: Bearer fs_…`), a JWT that
Envoy's filter has verified, or the cookie of a browser session. A browser sends a cookie unasked, so such a call must
also show that a page of ours made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import grpc
from fiveshot.gateway.v1 import external_auth_pb2 as pb
from google.protobuf import json_format
from google.rpc import code_pb2

from gateway.api_keys import KEY_PREFIX, ApiKeyFile
from gateway.audit import GatewayAudit
from gateway.check_answers import Caller, allowed, denied, kept, told, wants_grpc
from gateway.claims import Claims, principal_of
from gateway.envoy_filters import CHECK_KEY, HEALTH_PATH, JSON_CHECK, JWT_FAILURE_KEY, JWT_FILTER, JWT_PAYLOAD_KEY
from gateway.http_rules import http_rules
from gateway.json_check import JsonCheck
from gateway.roles import SERVICES, Role, RoleCheck
from gateway.sampled_log import SampledLog
from gateway.sessions import CONSOLE_HEADER, OIDC_PATH, SESSION_PATH, Grant, SessionFolder, cookie_of
from gateway.stack_health import StackHealth, document
from services.chassis import telemetry
from services.chassis.callers import OwnToken
from services.chassis.errors import DomainError, PermissionDenied, Unauthenticated
from services.chassis.logging import get_logger

log = get_logger(__name__)

ANSWERS = telemetry.counter(
    "fiveshot_gateway_authorizations_total", "Calls put to the authorization service, by outcome.", ("outcome",)
)

SERVICE_NAME = "envoy.service.auth.v3.Authorization"
_MAX_LOGGED_PATH = 200
_LARGE_BODY = 32 * 1024
_LOOKS = ("GET", "HEAD")


class Authorizer:
    """Decides from headers and the JWT filter's verdict; knows nothing of the wire."""

    def __init__(
        self,
        keys: ApiKeyFile,
        *,
        projects_claim: str,
        role_claim: str = "role",
        sessions: SessionFolder | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keys = keys
        self._told = ""
        self._sessions = sessions or SessionFolder(None)
        self._claims = Claims(projects_claim, role_claim)
        self.now = now

    def identify(self, headers: Mapping[str, str], verdict: Mapping[str, object], verb: str = "GET") -> Caller:
        """The caller. Raises Unauthenticated (nobody known) or PermissionDenied (known, but no project is open).

        headers: lower-case names. verdict: what the JWT filter left: `payload` of a good token or `failure`. verb: what
        a browser's call does; one that may change something must come from a page of ours.
        """
        bearer = _bearer(headers.get("authorization", ""))
        secret = headers.get("x-api-key", "") or (bearer if bearer.startswith(KEY_PREFIX) else "")
        if secret:
            return self._by_key(secret)
        payload = verdict.get(JWT_PAYLOAD_KEY)
        if isinstance(payload, Mapping):
            return self.of_claims(payload)
        if bearer:
            raise Unauthenticated(
                f"The token was refused: {_failure(verdict)}",
                reason="TOKEN_INVALID",
                remedy="Get a fresh token for this deployment from its issuer, or send an API key as x-api-key.",
            )
        if cookie := cookie_of(headers.get("cookie", "")):
            if verb not in _LOOKS:
                self.require_own_page(headers)
            session = self._sessions.find(cookie)
            if session is None:
                raise _signed_out()
            return self.of_session(session)
        raise Unauthenticated(
            "The call carries neither an API key nor a token",
            reason="CREDENTIALS_MISSING",
            remedy="Send an API key in the header x-api-key, or a token as authorization: Bearer.",
        )

    def of_claims(self, payload: Mapping[str, object]) -> Caller:
        """The caller that a verified token's claims describe. Raises PermissionDenied: no project, or no role."""
        return self._claims.caller(payload)

    def known(self, headers: Mapping[str, str], verdict: Mapping[str, object]) -> Caller | None:
        """Who a refused caller is, if that is known; what it may do is another question."""
        bearer = _bearer(headers.get("authorization", ""))
        secret = headers.get("x-api-key", "") or (bearer if bearer.startswith(KEY_PREFIX) else "")
        payload = verdict.get(JWT_PAYLOAD_KEY)
        if secret:
            key = self._keys.find(secret)
            return Caller(f"key:{key.id}", key.projects, key.role) if key else None
        if isinstance(payload, Mapping):
            return Caller(principal_of(payload), ())
        session = self._sessions.find(cookie_of(headers.get("cookie", "")))
        if session is not None and session.subject:
            return _by_provider(session)
        key = self._keys.named(session.key) if session else None
        return Caller(f"session:{key.id}", key.projects, key.role) if key else None

    def of_session(self, session: Grant) -> Caller:
        """The caller of a session: what its key may do now, or what the provider said at the sign-in.

        Raises Unauthenticated once the key is gone.
        """
        if session.subject:
            return _by_provider(session)
        key = self._keys.named(session.key)
        if key is None or key.expired(self.now()):
            raise _signed_out()
        return Caller(f"session:{key.id}", key.projects, key.role)

    def require_own_page(self, headers: Mapping[str, str]) -> None:
        """Raises PermissionDenied unless a page of this gateway made the call.

        Only scripts can set the header, and those of other origins must ask first, which CORS never allows for it.
        """
        host = headers.get(":authority", "") or headers.get("host", "")
        origin = headers.get("origin", "")
        if not headers.get(CONSOLE_HEADER) or (origin and origin.partition("://")[2] != host):
            raise PermissionDenied(
                "A browser's call was refused because it did not come from the console's own page",
                reason="CROSS_SITE_CALL",
                remedy="Open the console at its own address; scripts send an API key, not a cookie.",
            )

    def _by_key(self, secret: str) -> Caller:
        key = self._keys.find(secret)
        if self._keys.problem != self._told:
            self._told = self._keys.problem
            log.error("api_keys_file_broken" if self._told else "api_keys_file_mended", problem=self._told)
        if key is None:
            raise Unauthenticated(
                "The API key is not known here",
                reason="API_KEY_INVALID",
                remedy="Check the key for typos, and that it belongs to this deployment.",
            )
        if key.expired(self.now()):
            raise Unauthenticated(
                f"The API key '{key.id}' has expired", reason="API_KEY_EXPIRED", remedy="Ask for a new key."
            )
        return Caller(f"key:{key.id}", key.projects, key.role)


class Console(Protocol):
    """Who answers the calls of SESSION_PATH."""

    def answer(self, http: pb.AttributeContext.HttpRequest) -> pb.CheckResponse:
        """The whole answer."""
        ...


class Browsers(Protocol):
    """Who answers the calls below OIDC_PATH, with the help of an identity provider."""

    async def answer(self, http: pb.AttributeContext.HttpRequest) -> pb.CheckResponse:
        """The whole answer."""
        ...


class AuthorizationServicer:
    """Envoy's side: reads a CheckRequest, writes a CheckResponse."""

    def __init__(
        self,
        authorizer: Authorizer,
        *,
        internal_token: str | OwnToken,
        bodies: JsonCheck | None = None,
        health: StackHealth | None = None,
        console: Console | None = None,
        oidc: Browsers | None = None,
        audit: GatewayAudit | None = None,
    ) -> None:
        self._oidc = oidc
        self._authorizer = authorizer
        self._console = console
        self._audit = audit
        self._roles = RoleCheck(http_rules(SERVICES))
        self._health = health
        self._bodies = bodies
        self._internal_token = internal_token
        self._refusals = SampledLog(log, "caller_refused")

    async def check(self, request: pb.CheckRequest, context: object) -> pb.CheckResponse:
        """Answers for one call. A refusal is an answer, not a failure of this service."""
        http = request.attributes.request.http
        headers = http.headers
        metadata = request.attributes.metadata_context.filter_metadata
        verdict = json_format.MessageToDict(metadata[JWT_FILTER]) if JWT_FILTER in metadata else {}
        caller = None
        try:
            caller = self._authorizer.identify(headers, verdict, http.method)
            self._roles.require(caller.role, http.method, http.path)
        except DomainError as error:
            # Not mapped to a status of this call: for Envoy a refusal is an answer like any other.
            self._refusals.note(error.reason, path=http.path.split("?")[0][:_MAX_LOGGED_PATH])
            ANSWERS.labels(error.reason).inc()
            if self._audit is not None:
                self._audit.refused(http, error, caller or self._authorizer.known(headers, verdict))
            return denied(error, wants_grpc=wants_grpc(headers))
        ANSWERS.labels("OK").inc()
        return kept(allowed(caller, self._shown()))

    def _shown(self) -> str:
        token = self._internal_token
        return token.current() if isinstance(token, OwnToken) else token

    async def check_body(self, request: pb.CheckRequest) -> pb.CheckResponse:
        """Answers for the body of one JSON call, whose caller is known by now."""
        http = request.attributes.request.http
        try:
            if self._bodies is not None:
                check = partial(self._bodies.check, http.method, http.path, http.raw_body)
                if len(http.raw_body) > _LARGE_BODY:
                    # Tenths of a second, in which nobody else should wait for an answer.
                    await asyncio.to_thread(check)
                else:
                    check()
        except DomainError as error:
            return denied(error, wants_grpc=wants_grpc(http.headers))
        return pb.CheckResponse(status=pb.CheckStatus(code=code_pb2.OK), ok_response=pb.OkResponse())

    async def answer(self, request: pb.CheckRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.CheckResponse:
        """Answers the question that Envoy asks: one of its two filters marks its calls."""
        if request.attributes.request.http.path == HEALTH_PATH and self._health is not None:
            return told(*document(await self._health.services()))
        if request.attributes.request.http.path.partition("?")[0] == SESSION_PATH and self._console is not None:
            return self._console.answer(request.attributes.request.http)
        if request.attributes.request.http.path.startswith(OIDC_PATH) and self._oidc is not None:
            return await self._oidc.answer(request.attributes.request.http)
        asked = dict(context.invocation_metadata() or ())
        if asked.get(CHECK_KEY) == JSON_CHECK:
            return await self.check_body(request)
        return await self.check(request, context)

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the service under Envoy's name."""
        handler = grpc.unary_unary_rpc_method_handler(
            self.answer,
            request_deserializer=pb.CheckRequest.FromString,
            response_serializer=pb.CheckResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, {"Check": handler}),))


def _by_provider(session: Grant) -> Caller:
    return Caller(f"session:{session.subject}", session.projects, Role(session.role))


def _signed_out() -> Unauthenticated:
    return Unauthenticated(
        "The session in this browser has ended",
        reason="SESSION_ENDED",
        remedy="Sign in again: run `fiveshot console` on the machine of the stack, or enter an API key.",
    )


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _failure(verdict: Mapping[str, object]) -> str:
    """The JWT filter's reason, such as `Jwt is expired`."""
    failure = verdict.get(JWT_FAILURE_KEY)
    if isinstance(failure, Mapping):
        return str(failure.get("message") or "it could not be verified")
    return "this deployment takes no tokens" if not verdict else "it could not be verified"
