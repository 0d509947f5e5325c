"""Who a token's claims say that its holder is: the subject, its projects and its role."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.check_answers import Caller
from gateway.roles import Role
from services.chassis.errors import PermissionDenied

_PROJECT = re.compile(r"\*|[a-z][a-z0-9-]{0,62}")


class Claims:
    """Reads the claims of this deployment's issuer, given by their names."""

    def __init__(self, projects_claim: str, role_claim: str) -> None:
        self._projects_claim = projects_claim
        self._role_claim = role_claim

    def caller(self, payload: Mapping[str, object]) -> Caller:
        """The caller of a verified token. Raises PermissionDenied: TOKEN_WITHOUT_PROJECTS, TOKEN_WITHOUT_ROLE."""
        subject = str(payload.get("sub", "")) or "unknown"
        named = _words(claimed(payload, self._projects_claim))
        projects = tuple(project for project in named if _PROJECT.fullmatch(project))
        if not projects:
            raise PermissionDenied(
                f"The token of '{subject}' opens no project",
                reason="TOKEN_WITHOUT_PROJECTS",
                remedy=f"Have the issuer put the project ids into the claim '{self._projects_claim}'.",
            )
        return Caller(principal_of(payload), projects, self._role_of(payload, subject))

    def _role_of(self, payload: Mapping[str, object], subject: str) -> Role:
        """The highest role that the claim names; one who has no such claim is an editor, as before there were roles."""
        claim = claimed(payload, self._role_claim)
        if claim is None:
            return Role.EDITOR
        words = _words(claim)
        found = [role for role in Role if role in words]
        if not found:
            raise PermissionDenied(
                f"The token of '{_printable(subject)}' has no role here",
                reason="TOKEN_WITHOUT_ROLE",
                remedy=f"Have the issuer put {', '.join(Role)} into the claim '{self._role_claim}'.",
            )
        return found[-1]


def principal_of(payload: Mapping[str, object]) -> str:
    """`jwt:{subject}`."""
    return f"jwt:{_printable(str(payload.get('sub', '')) or 'unknown')}"


def claimed(payload: Mapping[str, object], claim: str) -> object:
    """A claim's value, None without it; dots in the name lead into objects, as in Keycloak's `realm_access.roles`."""
    if claim in payload:
        return payload[claim]
    first, dot, rest = claim.partition(".")
    inner = payload.get(first)
    return claimed(inner, rest) if dot and isinstance(inner, Mapping) else None


def _words(claim: object) -> list[str]:
    return claim.replace(",", " ").split() if isinstance(claim, str) else _strings(claim)


def _strings(claim: object) -> list[str]:
    return [item for item in claim if isinstance(item, str)] if isinstance(claim, list | tuple) else []


def _printable(text: str) -> str:
    """A header value without control characters, of bounded length."""
    return "".join(character if character.isprintable() and character.isascii() else "?" for character in text)[:200]
