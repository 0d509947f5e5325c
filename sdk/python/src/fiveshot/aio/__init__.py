"""The client for asyncio. Its modules are the source of those in `fiveshot.sync`: `python -m tools.sync_client`."""
