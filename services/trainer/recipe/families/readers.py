"""Which tool applies a job's files as they were trained, in words for its user."""

from __future__ import annotations

from services.trainer.recipe.families.facts import FamilyFacts

TOOLS = ("ComfyUI", "Forge", "Automatic1111", "sd-scripts", "diffusers")
_REASONS = {
    ("Automatic1111", "dora"): "scales DoRA along the other side of each weight, so its pictures differ",
    ("sd-scripts", "dora"): "leaves DoRA's scales out, so its pictures differ",
    ("sd-scripts", "loha"): "does not read LoHa by itself",
    ("sd-scripts", "lokr"): "does not read LoKr by itself",
    ("diffusers", "loha"): "does not read LoHa",
    ("diffusers", "lokr"): "does not read LoKr",
}


def forms_for(tool: str, facts: FamilyFacts, adapter: str) -> tuple[str, ...]:
    """The forms of the files that a tool applies at the trained strength."""
    return tuple(form.form for form in facts.forms if adapter in form.readers.get(tool, ()))


def why_not(tool: str, facts: FamilyFacts, adapter: str) -> str:
    """Why a tool applies none of the files, as the end of a sentence that begins with its name; "" when it does."""
    if forms_for(tool, facts, adapter):
        return ""
    if not any(tool in form.readers for form in facts.forms):
        return f"does not read Fiveshot's files of {facts.title}"
    return _REASONS[tool, adapter]


def file_notes(facts: FamilyFacts, adapter: str) -> tuple[str, ...]:
    """What to know before the files are used elsewhere: a sentence for each tool that does not apply them rightly."""
    right = [tool for tool in TOOLS if forms_for(tool, facts, adapter)]
    wrong = [(tool, why_not(tool, facts, adapter)) for tool in TOOLS if tool not in right]
    names = " or ".join([", ".join(right[:-1]), right[-1]] if len(right) > 1 else right)
    return tuple(f"{tool} {reason}; use {names}." for tool, reason in wrong)
