"""Who is calling, carried beside the request instead of through every signature.

The server interceptor opens a context for each call; the client interceptor reads it and forwards the same facts, so
a request keeps its id and its rights across services. Background tasks open their own with `use`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from services.chassis.errors import PermissionDenied

REQUEST_ID_KEY = "x-request-id"
PROJECTS_KEY = "x-fiveshot-projects"
PRINCIPAL_KEY = "x-fiveshot-principal"
ROLE_KEY = "x-fiveshot-role"
ADDRESS_KEY = "x-fiveshot-address"
INTERNAL_TOKEN_KEY = "x-fiveshot-internal"
ALL_PROJECTS = "*"


@dataclass(frozen=True)
class RequestContext:
    """The facts of one call.

    request_id: "" outside a call. projects: the projects this caller may touch, {"*"} for all, None when nobody said
    (a call that did not pass the gateway, allowed unless the settings require the header). principal: who, for the log.
    role, address: of the caller, as the gateway saw them; for the audit. deadline: when the caller stops waiting, on
    the clock of `time.monotonic`; None when it never does.
    """

    request_id: str = ""
    projects: frozenset[str] | None = None
    principal: str = ""
    peer: str = ""
    role: str = ""
    address: str = ""
    deadline: float | None = None

    def allows(self, project: str) -> bool:
        """Whether this caller may touch a project."""
        return self.projects is None or ALL_PROJECTS in self.projects or project in self.projects


_OUTSIDE = RequestContext(projects=frozenset({ALL_PROJECTS}))
_current: ContextVar[RequestContext] = ContextVar("request_context", default=_OUTSIDE)


def current() -> RequestContext:
    """The context of the running call; outside a call one that may touch every project."""
    return _current.get()


def enter(context: RequestContext) -> None:
    """Makes `context` the current one until the running task ends; for the transport, which has a task per call."""
    _current.set(context)


@contextmanager
def use(context: RequestContext) -> Iterator[None]:
    """Makes `context` the current one inside the block."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


def require_project(project: str, *, field: str = "") -> None:
    """Raises PermissionDenied(reason=PROJECT_FORBIDDEN) unless the caller may touch the project.

    field: the field of the request that names it.
    """
    if not current().allows(project):
        raise PermissionDenied(
            f"This caller has no access to project '{project}'",
            field=field,
            reason="PROJECT_FORBIDDEN",
            remedy="Use a key or token that was issued for this project.",
            metadata={"project": project},
        )


def require_all_projects() -> None:
    """Raises PermissionDenied(reason=ALL_PROJECTS_NEEDED) unless the caller may touch every project."""
    allowed = current().projects
    if allowed is not None and ALL_PROJECTS not in allowed:
        raise PermissionDenied(
            "This caller has no access to all projects",
            reason="ALL_PROJECTS_NEEDED",
            remedy="Use an operator's key, which is issued for the projects '*'.",
        )


def parse_projects(header: str) -> frozenset[str]:
    """The projects header as a set: a comma list, `*` for all."""
    return frozenset(part.strip() for part in header.split(",") if part.strip())


def format_projects(projects: frozenset[str]) -> str:
    """The inverse of `parse_projects`, in a stable order."""
    return ",".join(sorted(projects))
