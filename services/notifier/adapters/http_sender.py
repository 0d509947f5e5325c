"""HTTP to receivers, of whom nothing is believed: who they are, where their name leads, how they answer, how fast.

A name is resolved once for each request. The addresses that it has are checked and the connection goes to one of them,
so that a name whose addresses change in between leads nowhere else; the certificate is checked against the name.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from services.chassis import tracing
from services.chassis.errors import InvalidArgument
from services.chassis.sql import utcnow
from services.notifier.models.addresses import FIELD, Address, Network, Target, check_addresses, literal, parse_url
from services.notifier.ports import Answer, SendError

if TYPE_CHECKING:
    import httpcore

_RESOLVE_S = 5.0
# A receiver may still be writing its answer; whoever hangs up at once looks to it like a failure. What it says is not
# wanted: neither much of it nor for long.
_DRAINED_BYTES = 64 * 1024
_DRAIN_S = 0.5
_UNKNOWN = "WEBHOOK_HOST_UNKNOWN"

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host. Raises OSError."""


async def resolve(host: str, port: int) -> list[str]:
    """What this machine's resolver says, which reads `127.1` and `2130706433` as addresses too."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class HttpSender:
    """Implements ports.Sender. allowed: private networks that may be reached. ca_file: of further authorities."""

    def __init__(
        self,
        allowed: Sequence[Network],
        *,
        timeout_s: float,
        ca_file: Path | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        self._allowed = allowed
        self._timeout_s = timeout_s
        self._ca_file = ca_file
        self._resolve = resolve

    async def check(self, url: str) -> None:
        """See ports.Sender, here and below."""
        await self._address(parse_url(url))

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        target = parse_url(url)
        # Without the path, which may hold a secret of the receiver's.
        known = {"http.request.method": "POST", "server.address": target.host, "server.port": target.port}
        parent, client = headers.get(tracing.TRACEPARENT, ""), SpanKind.CLIENT
        with tracing.span("deliver webhook", parent=parent, kind=client, attributes=known) as span:
            sent = dict(headers)
            tracing.add_to(sent)
            answer = await self._posted(target, sent, body)
            span.set_attribute("http.response.status_code", answer.status)
            return answer

    async def _posted(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        # Tens of milliseconds and some MiB, which a process that sends nothing need not have.
        import httpcore

        try:
            async with asyncio.timeout(self._timeout_s):
                address = await self._address(target)
                return await self._exchange(target, str(address), headers, body)
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise SendError("TIMED_OUT", f"The receiver did not answer within {self._timeout_s:g} s.") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise _told(error, target) from error

    async def _exchange(self, target: Target, address: str, headers: Mapping[str, str], body: bytes) -> Answer:
        import httpcore

        url = httpcore.URL(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=target.port,
            target=target.path.encode(),
        )
        sent = {"host": target.authority, "content-length": str(len(body)), "connection": "close", **headers}
        pool = httpcore.AsyncConnectionPool(
            ssl_context=self._tls if target.scheme == "https" else None,
            max_connections=1,
            network_backend=_pinned(address),
        )
        async with pool, pool.stream("POST", url, headers=list(sent.items()), content=body) as response:
            answer = Answer(response.status, _retry_after(response.headers))
            with contextlib.suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
                await _drain(response)
            return answer

    async def _address(self, target: Target) -> Address:
        given = literal(target.host)
        if given is not None:
            return check_addresses(target, [given], self._allowed)
        try:
            async with asyncio.timeout(_RESOLVE_S):
                found = [ipaddress.ip_address(each) for each in await self._resolve(target.host, target.port)]
        except (OSError, TimeoutError, ValueError) as error:
            raise _unknown(target) from error
        if not found:
            raise _unknown(target)
        return check_addresses(target, found, self._allowed)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._ca_file is not None:
            context.load_verify_locations(cafile=self._ca_file)
        return context


def _pinned(address: str) -> httpcore.AsyncNetworkBackend:
    """Connects to the address that was checked, whatever the name says by now."""
    from httpcore import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream

    class Pinned(AsyncNetworkBackend):
        async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> AsyncNetworkStream:
            return await AnyIOBackend().connect_tcp(address, port, *args, **options)

    return Pinned()


async def _drain(response: httpcore.Response) -> None:
    read = 0
    async with asyncio.timeout(_DRAIN_S):
        async for chunk in response.aiter_stream():
            read += len(chunk)
            if read > _DRAINED_BYTES:
                return


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> float:
    """Seconds that `Retry-After` asks for, in either of its forms; 0 for none or nonsense."""
    text = next((value.decode("latin-1") for name, value in headers if name.lower() == b"retry-after"), "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - utcnow()).total_seconds()) if text else 0.0
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _told(error: Exception, target: Target) -> SendError:
    """What went wrong, in words that tell nothing of this machine."""
    import httpcore

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SendError("TLS_FAILED", f"The certificate of '{target.host}' is not good: {cause.verify_message}.")
        if isinstance(cause, ssl.SSLError):
            return SendError("TLS_FAILED", f"'{target.host}' and this service found no common TLS.")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore.ConnectError):
        return SendError("CONNECTION_FAILED", f"Nobody takes connections at {target.authority}.")
    if isinstance(error, httpcore.ProtocolError):
        return SendError("ANSWER_INVALID", "The receiver's answer is not HTTP/1.1, or its headers are too large.")
    return SendError("CONNECTION_FAILED", "The connection to the receiver was lost before it answered.")


def _unknown(target: Target) -> InvalidArgument:
    return InvalidArgument(
        f"The name '{target.host}' leads nowhere",
        field=FIELD,
        reason=_UNKNOWN,
        remedy="Check the name; it must be known to the name servers that the notifier asks.",
    )
