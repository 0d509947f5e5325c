"""Clients of an object store, and what their errors are called: used by `s3.py`, which has the calls."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TypeVar

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError

from services.chassis import telemetry
from services.chassis.errors import DomainError, Internal, NotFound, OutOfRange, Unavailable
from services.chassis.s3_identity import Identity
from services.chassis.store_settings import S3Settings

ABSENT = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchObject", "NoSuchVersion", "ResourceNotFound"})
_BUSY = frozenset({"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "XMinioServerNotInitialized"})

T = TypeVar("T")

SECONDS = telemetry.histogram("fiveshot_store_request_seconds", "Seconds of a request to the object store.")
ERRORS = telemetry.counter(
    "fiveshot_store_errors_total", "Requests that failed or were refused, absent objects apart.", ("reason",)
)
for _reason in ("STORAGE_UNAVAILABLE", "STORAGE_REFUSED"):
    # A counter that begins with its first error hides that error from rates.
    ERRORS.labels(_reason)


def connected(
    settings: S3Settings, endpoint: str, secure: bool, http: urllib3.PoolManager, who: Identity | None
) -> Minio:
    """A client, which connects with its first call."""
    client = Minio(
        endpoint,
        secure=secure,
        # A named region spares a request before the first one and lets the signer work without a connection.
        region=settings.s3_region,
        http_client=http,
        credentials=who,
    )
    if settings.s3_addressing == "virtual":
        client.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
    elif settings.s3_addressing == "path":
        client.disable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
    return client


def pool(settings: S3Settings, size: int) -> urllib3.PoolManager:
    """Connections for `size` threads, each call tried three times."""
    return urllib3.PoolManager(
        maxsize=size,
        timeout=urllib3.Timeout(connect=3, read=60),
        retries=urllib3.Retry(total=3, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
        ssl_context=tls(settings),
    )


def tls(settings: S3Settings) -> ssl.SSLContext:
    """Of the store, and of who gives an identity for it."""
    return ssl.create_default_context(cafile=str(settings.s3_ca_file) if settings.s3_ca_file else None)


def translating(call: Callable[[], T]) -> Callable[[], T]:
    """The call with DomainErrors in the place of the library's."""

    def guarded() -> T:
        try:
            with telemetry.timing(SECONDS):
                return call()
        except S3Error as error:
            typed = _typed(error)
            if not isinstance(typed, NotFound):
                ERRORS.labels(typed.reason).inc()
            raise typed from error
        except (urllib3.exceptions.HTTPError, ServerError, InvalidResponseError, ConnectionError) as error:
            untrusted = _certificate_error(error)
            if untrusted is not None:
                ERRORS.labels("STORAGE_REFUSED").inc()
                raise Internal(
                    f"The object store's certificate is not trusted ({untrusted.verify_message})",
                    reason="STORAGE_REFUSED",
                    remedy="Name the authority that signed it in S3_CA_FILE, and the host as the certificate does.",
                ) from error
            ERRORS.labels("STORAGE_UNAVAILABLE").inc()
            raise Unavailable(
                "The object store does not answer", reason="STORAGE_UNAVAILABLE", remedy="Try again in a moment."
            ) from error

    return guarded


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The complaint about a certificate behind an error of the connection, if that is what it was."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(error, BaseException):
            return None
    return error


def _typed(error: S3Error) -> DomainError:
    if error.code in ABSENT:
        return NotFound(
            f"The object {error.object_name or ''} does not exist",
            reason="OBJECT_NOT_FOUND",
            remedy="It was deleted meanwhile; if not, restore the bucket from its backup.",
            metadata={"key": error.object_name or ""},
        )
    if error.code == "InvalidRange":
        return OutOfRange(
            f"The object {error.object_name or ''} ends before the part that was asked for",
            reason="OBJECT_TOO_SHORT",
            remedy="It is not what was stored; restore the bucket from its backup.",
        )
    if error.code in _BUSY:
        return Unavailable("The object store is busy", reason="STORAGE_UNAVAILABLE", remedy="Try again in a moment.")
    return Internal(
        f"The object store refused the request ({error.code})",
        reason="STORAGE_REFUSED",
        remedy="Check the keys, the bucket and the clock of this service.",
        metadata={"code": str(error.code)},
    )
