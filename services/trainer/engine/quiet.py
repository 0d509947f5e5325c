"""Libraries that print progress bars and advice into the worker's log are told to keep to errors."""

from __future__ import annotations

import diffusers.utils.logging
import transformers.utils.logging


def quiet_libraries() -> None:
    """Only errors of diffusers and transformers are logged, and no progress bars drawn; ours go through the hooks."""
    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
