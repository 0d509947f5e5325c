"""`/console/session`: signing in to the console, who is signed in, and signing out.

    POST    with a one-time code (x-fiveshot-code) or an API key (x-api-key): a session and its cookie
    GET     who is signed in: projects, role, when it ends
    DELETE  ends the session

Every answer is JSON; a refusal is a google.rpc.Status. A code travels in a header: addresses end up in logs.
"""

from __future__ import annotations

import json

from fiveshot.gateway.v1 import external_auth_pb2 as pb

from gateway.audit import SIGN_IN, SIGN_OUT, GatewayAudit
from gateway.authz import Authorizer
from gateway.check_answers import Caller, denied, told
from gateway.sessions import CODE_HEADER, Grant, SessionFolder, cookie_of, set_cookie
from services.chassis.errors import DomainError, InvalidArgument, PermissionDenied, Unauthenticated


class ConsoleSessions:
    """Answers the calls of one path."""

    def __init__(self, authorizer: Authorizer, sessions: SessionFolder, *, audit: GatewayAudit | None = None) -> None:
        self._audit = audit
        self._authorizer = authorizer
        self._sessions = sessions

    def answer(self, http: pb.AttributeContext.HttpRequest) -> pb.CheckResponse:
        """The answer, whatever it is: in the form in which Envoy passes it on."""
        secure = http.headers.get("x-forwarded-proto", "") == "https"
        try:
            if http.method == "POST":
                return self._sign_in(http, secure=secure)
            if http.method == "DELETE":
                return self._sign_out(http, secure=secure)
            if http.method == "GET":
                caller = self._authorizer.identify(http.headers, {})
                return told(200, _document(caller, self._sessions.find(cookie_of(http.headers.get("cookie", "")))))
            raise InvalidArgument(
                "This address takes GET, POST and DELETE",
                reason="METHOD_UNKNOWN",
                remedy="Use one of them; docs/gateway.md says for what.",
            )
        except DomainError as error:
            if self._audit is not None:
                self._audit.refused(http, error, self._authorizer.known(http.headers, {}))
            return denied(error, wants_grpc=False)

    def _sign_in(self, http: pb.AttributeContext.HttpRequest, *, secure: bool) -> pb.CheckResponse:
        headers = http.headers
        self._authorizer.require_own_page(headers)
        if code := headers.get(CODE_HEADER, ""):
            token, session = self._sessions.sign_in(code)
        elif headers.get("x-api-key", ""):
            caller = self._authorizer.identify({"x-api-key": headers["x-api-key"]}, {})
            token, session = self._sessions.open(caller.principal.removeprefix("key:"))
        else:
            raise Unauthenticated(
                "Signing in takes a one-time address or an API key",
                reason="CREDENTIALS_MISSING",
                remedy="Run `fiveshot console` on the machine of the stack, or enter an API key.",
            )
        caller = self._authorizer.of_session(session)
        if self._audit is not None:
            self._audit.signed(http, SIGN_IN, caller)
        seconds = int((session.expires - self._authorizer.now()).total_seconds())
        return told(200, _document(caller, session), {"set-cookie": set_cookie(token, seconds=seconds, secure=secure)})

    def _sign_out(self, http: pb.AttributeContext.HttpRequest, *, secure: bool) -> pb.CheckResponse:
        self._authorizer.require_own_page(http.headers)
        caller = self._authorizer.known(http.headers, {})
        self._sessions.close(cookie_of(http.headers.get("cookie", "")))
        if self._audit is not None and caller is not None:
            self._audit.signed(http, SIGN_OUT, caller)
        return told(200, "{}", {"set-cookie": set_cookie("", seconds=0, secure=secure)})


def _document(caller: Caller, session: Grant | None) -> str:
    """What the page needs to know."""
    facts: dict[str, object] = {"projects": sorted(caller.projects), "role": str(caller.role)}
    if session is None:
        raise PermissionDenied(
            "This is a browser's address; the call carries another credential than its cookie",
            reason="SESSION_MISSING",
            remedy="Sign in with POST first.",
        )
    return json.dumps({**facts, "key": session.key or session.subject, "expireTime": session.expires.isoformat()})
