"""What a new consumer of events needs: a secret of its own, and the stream of its project."""

from __future__ import annotations

import asyncio
import secrets

import nkeys
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig

from gateway import event_accounts
from services.chassis.errors import Unavailable
from services.chassis.patience import patiently

_CONNECT_S = 2.0
# What a server may take to read its accounts again.
_RELOAD_S = 20.0


def new_seed() -> tuple[str, str]:
    """A fresh NKey of a user: the seed, which is the secret, and the public key."""
    seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    public_key: bytes = nkeys.from_seed(seed).public_key
    return bytes(seed).decode("ascii"), public_key.decode("ascii")


async def ensure_stream(url: str, project: str, password: str) -> None:
    """Makes the project's stream unless it is there. Raises Unavailable when the server does not take the steward.

    url: nats://host:port. A server that has just been told of the account may need a moment.
    """

    async def make() -> None:
        client = Client()
        user = event_accounts.steward(project)
        try:
            async with asyncio.timeout(_CONNECT_S):
                await client.connect(url, user=user, password=password, allow_reconnect=False, error_cb=_quiet)
            # An account that has just come may be let in before it has its streams.
            jetstream = client.jetstream(timeout=_CONNECT_S)
            await jetstream.add_stream(StreamConfig(**event_accounts.stream(project)))
        except (NatsError, OSError, TimeoutError) as error:
            raise Unavailable(
                f"The event bus does not take the account of '{project}'",
                reason="EVENT_BUS_UNAVAILABLE",
                remedy="Look into the log of the NATS server.",
            ) from error
        finally:
            await client.close()

    await patiently(make, what="account of the project", patience_s=_RELOAD_S)


async def _quiet(_error: Exception) -> None:
    """Without it nats-py prints a traceback for every refusal."""
