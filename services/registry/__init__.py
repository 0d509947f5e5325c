"""The registry: repositories of trained adapters, their immutable versions, and where each came from."""
