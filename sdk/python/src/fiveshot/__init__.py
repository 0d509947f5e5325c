"""Fiveshot from Python: five photos in, your own image model out.

    from fiveshot import Client
    fs = Client()          # the local stack, or FIVESHOT_SERVER, FIVESHOT_API_KEY, FIVESHOT_PROJECT

`AsyncClient` has the same methods for asyncio. Errors are in `fiveshot.errors`; messages and stubs of the API are in
`fiveshot.dataset.v1`, `fiveshot.tagger.v1`, `fiveshot.trainer.v1`, `fiveshot.registry.v1` and
`fiveshot.notifier.v1`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiveshot.aio.client import AsyncClient
    from fiveshot.errors import FiveshotError
    from fiveshot.sync.client import Client

__all__ = ["AsyncClient", "Client", "FiveshotError"]
_PLACES = {
    "AsyncClient": "fiveshot.aio.client",
    "Client": "fiveshot.sync.client",
    "FiveshotError": "fiveshot.errors",
}


def __getattr__(name: str) -> Any:
    # Late, because a server that reads only the messages has no use for a client.
    if name not in _PLACES:
        raise AttributeError(f"module 'fiveshot' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
