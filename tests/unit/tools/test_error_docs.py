"""The page of errors says what the code raises, and no error leaves its reader without a remedy."""

from __future__ import annotations

from tools.error_docs import PAGE, parts, places, places_in
from tools.marked_pages import refreshed

CODE = """
HINT = "Use " + "another."

def wrong(field, message):
    return InvalidArgument(message, field=field, reason="A" if field else "B", remedy=HINT)

def first():
    raise wrong("x", f"{1} is too much")

async def second(self):
    why, remedy = "Gone.", f"Look at {self.place}."
    raise errors.NotFound(why, remedy=remedy)

def third(step):
    raise EngineError("LOST", "The loss is lost.", unknown(step))
"""


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert refreshed(page, parts()) == page, "run: python -m tools.error_docs --write"


def test_every_error_of_the_services_names_a_remedy() -> None:
    without = [f"{place.where} {place.kind}" for place in places() if not place.remedies]
    assert not without


def test_reasons_are_stable_words() -> None:
    reasons = {reason for place in places() for reason in place.reasons}
    assert {"IMAGE_TOO_LARGE", "DATASET_FULL", "JOB_STATE", "MODEL_EXISTS", "API_KEY_INVALID"} <= reasons
    assert all(reason == "…" or reason.replace("_", "").isupper() for reason in reasons)


def test_texts_are_found_behind_names_choices_and_parameters() -> None:
    invalid, missing, lost = places_in(CODE, "code.py")
    assert (invalid.kind, invalid.reasons, invalid.remedies) == ("InvalidArgument", ("A", "B"), ("Use another.",))
    assert invalid.messages == ("… is too much",)
    assert (missing.kind, missing.reasons) == ("NotFound", ("NOT_FOUND",))
    assert (missing.messages, missing.remedies) == (("Gone.",), ("Look at ….",))
    assert (lost.reasons, lost.remedies, lost.where) == (("LOST",), ("…",), "code.py:15")
