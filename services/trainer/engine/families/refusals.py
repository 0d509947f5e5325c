"""Why a base model is not trained, in words for the user: never a path of this worker or a library's own words."""

from __future__ import annotations

from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import BaseModelFiles
from services.trainer.recipe.families.facts import FamilyFacts
from services.trainer.recipe.families.fitting import component_words

_REINSTALL = "Install the base model again or choose another one."


def missing(files: BaseModelFiles) -> EngineError:
    """Nothing is there."""
    return EngineError(
        "BASE_MODEL_MISSING", f"The weights of the base model {files.id} are not on this worker.", _REINSTALL
    )


def unsafe(files: BaseModelFiles, name: str) -> EngineError:
    """name: of the file, from the model's folder on."""
    return EngineError(
        "BASE_MODEL_UNSAFE",
        f"The base model {files.id} holds its weights as a pickle ({name}), which can run code when it is read.",
        "Convert it to .safetensors, or choose another base model.",
    )


def incomplete(files: BaseModelFiles, component: str) -> EngineError:
    """A component is not there at all."""
    return EngineError(
        "BASE_MODEL_INCOMPLETE", f"The base model {files.id} has no {component_words(component)}.", _REINSTALL
    )


def alone(files: BaseModelFiles, component: str) -> EngineError:
    """A single file lacks a component that its catalogue entry could name."""
    return EngineError(
        "BASE_MODEL_INCOMPLETE",
        f"The base model {files.id} is a single file that has no {component_words(component)}.",
        "Name the folder of the whole model as config_source in the catalogue.",
    )


def lacking(files: BaseModelFiles, component: str, what: str) -> EngineError:
    """A component is there in part. what: that it lacks."""
    message = f"The {component_words(component)} of the base model {files.id} lacks {what}."
    return EngineError("BASE_MODEL_INCOMPLETE", message, _REINSTALL)


def unsupported(facts: FamilyFacts, files: BaseModelFiles, what: str) -> EngineError:
    """what: the end of a sentence that begins with "it"."""
    return EngineError(
        "BASE_MODEL_UNSUPPORTED",
        f"The base model {files.id} cannot be trained: it {what}.",
        f"Choose a text-to-image model of the family {facts.title}.",
    )


def quantised(files: BaseModelFiles, what: str) -> EngineError:
    """what: the weights are."""
    return EngineError(
        "BASE_MODEL_UNSUPPORTED",
        f"The weights of the base model {files.id} are {what}, from which nothing can be trained.",
        "Install it as .safetensors in 16 or 32 bits; the parameter base_quantization makes it small again.",
    )


def corrupt(files: BaseModelFiles, why: str = "") -> EngineError:
    """why: an end of the sentence in our own words."""
    cause = f": {why}" if why else ""
    return EngineError(
        "BASE_MODEL_CORRUPT", f"The files of the base model {files.id} cannot be read{cause}.", _REINSTALL
    )
