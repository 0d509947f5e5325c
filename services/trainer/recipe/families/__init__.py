"""Facts about each family of base models: a file of this folder with a constant ``FACTS`` each; nothing lists them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from services.trainer.recipe.families.facts import FamilyFacts


@cache
def families() -> Mapping[str, FamilyFacts]:
    """The facts of every family by its name, in the order of the names."""
    modules = (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))
    facts = [module.FACTS for module in modules if hasattr(module, "FACTS")]
    return MappingProxyType({one.name: one for one in sorted(facts, key=lambda one: one.name)})
