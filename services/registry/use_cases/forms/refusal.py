"""Why a LoRA cannot be had in another form."""

from __future__ import annotations

from services.chassis.errors import FailedPrecondition


def cannot(why: str) -> FailedPrecondition:
    """The error of a conversion. why: the end of a sentence that begins with `because`."""
    return FailedPrecondition(
        f"The LoRA cannot be rewritten in this form, because {why}",
        field="file_id",
        reason="FORM_NOT_POSSIBLE",
        remedy="Download one of the files that the version has.",
    )
