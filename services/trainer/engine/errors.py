"""The engine's one exception: a reason that code can match, a sentence for the user and what to do about it."""

from __future__ import annotations


class EngineError(Exception):
    """A run that cannot go on.

    Attributes:
        reason: stable UPPER_SNAKE code, e.g. ``OUT_OF_MEMORY``, ``LOSS_NOT_FINITE``, ``BASE_MODEL_CORRUPT``.
        message: one sentence that says what happened.
        remedy: what to change so that it works.
        user_error: True when a retry without a change would fail again.
    """

    def __init__(self, reason: str, message: str, remedy: str, *, user_error: bool = True) -> None:
        super().__init__(f"{message} {remedy}")
        self.reason = reason
        self.message = message
        self.remedy = remedy
        self.user_error = user_error
