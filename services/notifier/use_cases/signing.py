"""Signatures as Standard Webhooks says (https://www.standardwebhooks.com), version v1: HMAC-SHA256."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime

_PREFIX = "whsec_"
_SECRET_BYTES = 32
USER_AGENT = "Fiveshot-Webhooks/1"


def new_secret() -> str:
    """A secret of 32 random bytes, `whsec_…`."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")


def signed_headers(event_id: str, body: str, keys: Sequence[str], now: datetime) -> dict[str, str]:
    """The headers of one attempt. keys: every secret that signs now; a receiver that knows one of them is content."""
    # Of the processes of a stack only this one needs it, and only once an event is sent.
    from standardwebhooks import Webhook

    signatures = [Webhook(key).sign(event_id, now, body) for key in keys]
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
