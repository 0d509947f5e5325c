"""Who a process is at the object store: fixed keys, or an identity that its surroundings give it for a while.

`web` exchanges a token that a cluster puts into a file (AssumeRoleWithWebIdentity), at Amazon, MinIO or whoever offers
it. `aws` takes what Amazon's own variables and addresses lead to: web identity and pod identity of EKS, the role of an
ECS task, the role of a machine. Both are renewed before they run out.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path

import urllib3
from minio.credentials.credentials import Credentials
from minio.credentials.providers import IamAwsProvider, Provider, StaticProvider, WebIdentityProvider

from services.chassis.errors import Internal, Unavailable
from services.chassis.store_settings import S3Settings

_STATUS = re.compile(r"HTTP status code (\d+)$")


class Identity(Provider):
    """Credentials for each request. fixed: whether they never change.

    Raises Internal(reason=STORAGE_REFUSED) when whoever gives the identity refuses, Unavailable when nobody answers.
    """

    def __init__(self, source: Provider, *, fixed: bool) -> None:
        self._source = source
        self._turn = threading.Lock()
        self.fixed = fixed

    def retrieve(self) -> Credentials:
        """The credentials that hold now."""
        if self.fixed:
            return self._source.retrieve()
        # One exchange for all threads, not one each.
        with self._turn:
            try:
                return self._source.retrieve()
            except (urllib3.exceptions.HTTPError, ConnectionError) as error:
                raise Unavailable(
                    "Nobody answers who gives this process its identity at the object store",
                    reason="STORAGE_UNAVAILABLE",
                    remedy="Try again in a moment.",
                ) from error
            except (ValueError, KeyError, OSError) as error:
                # The library's words hold the token; of them only the status is told.
                raise _refused(error) from None


def identity(settings: S3Settings, http: urllib3.PoolManager) -> Identity | None:
    """The identity that the settings name; None without keys, for a store that asks nobody. http: what exchanges are
    made over."""
    if settings.s3_identity == "web" and settings.s3_token_file is not None:
        file = settings.s3_token_file
        return Identity(
            WebIdentityProvider(
                jwt_provider_func=lambda: {"access_token": _token(file)},
                sts_endpoint=settings.s3_identity_url,
                role_arn=settings.s3_role or None,
                role_session_name="fiveshot",
                http_client=http,
            ),
            fixed=False,
        )
    if settings.s3_identity == "aws":
        url = settings.s3_identity_url or None
        return Identity(IamAwsProvider(custom_endpoint=url, region=settings.s3_region, http_client=http), fixed=False)
    if not settings.s3_access_key:
        return None
    return Identity(StaticProvider(settings.s3_access_key, settings.s3_secret_key.get_secret_value()), fixed=True)


def _token(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip()


def _refused(error: Exception) -> Internal:
    status = _STATUS.search(str(error))
    if status:
        why = f"HTTP {status.group(1)}"
    elif isinstance(error, FileNotFoundError | PermissionError):
        why = "the token cannot be read"
    else:
        why = "the answer holds no credentials"
    return Internal(
        f"This process got no identity at the object store ({why})",
        reason="STORAGE_REFUSED",
        remedy="Check S3_IDENTITY and the settings beside it, and that the token's subject may take the role.",
    )
