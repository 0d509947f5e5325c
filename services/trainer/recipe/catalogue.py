"""The base models that a deployment offers, read from ``base_models.toml``. Pure: nothing is loaded or downloaded here.

An entry is a table ``[base_models.<id>]``; see ``base_models.example.toml`` for every key. ``source`` is a folder in
diffusers layout or a single ``.safetensors`` checkpoint (both may be relative to the catalogue), or ``hub:owner/name``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from services.trainer.recipe.costs import ModelCosts, read_costs
from services.trainer.recipe.families import families
from services.trainer.recipe.families.facts import FamilyFacts
from services.trainer.recipe.parameter_spec import InvalidParameter, InvalidParameters, ParameterSpec
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from services.trainer.recipe.presets import preset_sets

DEFAULT_CATALOGUE = Path(__file__).with_name("base_models.toml")
REGULARIZATION_FILE = "regularization.safetensors"
"""Pictures of a base model's own world, in its folder or in that of its configuration."""
LabelStyle = Literal["sentence", "tags"]
_ID = re.compile(r"[a-z][a-z0-9.-]{0,62}")


class InvalidCatalogue(Exception):
    """The catalogue file cannot be used; the message names the entry, the key and what it must be."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model on offer.

    Attributes:
        source: absolute path of a folder or checkpoint, or ``hub:owner/name``.
        config_source: folder with the configuration and tokenizers for a single-file checkpoint, or None.
        training_adapter: absolute path of the LoRA that undoes a distillation while the model is trained, or None.
        architecture: value of ``modelspec.architecture`` without the adapter suffix.
        pixel_multiple: sides of training pictures are multiples of it; the engine reads the same from the weights.
        memory_mib: device memory of a run with batch size 1 and the default parameters, in MiB.
        neutral_prompts: prompts without any subject of a user, on which drift from the base is measured.
        preview_templates: prompts with ``{caption}`` or ``{trigger_word}`` used when the user gives none.
        caption_tokens: tokens of a caption that reach the model, without those that begin and end it.
        costs: what its architecture costs, for estimates; None when it was not counted.
        ships_regularization: pictures of its own world lie beside its weights; None where these are not at hand.
        specs: every training parameter with this model's default and limits.
        project, based_on: of one that a project has uploaded: whose it is, and id of the entry that it is made from.
    """

    id: str
    title: str
    description: str
    family: str
    source: str
    config_source: str | None
    architecture: str
    license: str
    license_url: str
    resolution: int
    pixel_multiple: int
    label_style: LabelStyle
    memory_mib: int
    neutral_prompts: tuple[str, ...]
    preview_templates: tuple[str, ...]
    specs: tuple[ParameterSpec, ...]
    costs: ModelCosts | None = None
    caption_tokens: int = 0
    training_adapter: str | None = None
    ships_regularization: bool | None = None
    project: str = ""
    based_on: str = ""

    @property
    def name(self) -> str:
        """Resource name."""
        return f"projects/{self.project}/baseModels/{self.id}" if self.project else f"baseModels/{self.id}"

    @property
    def entry(self) -> str:
        """Id of the catalogue's entry, by which workers are chosen and runs are counted."""
        return self.based_on or self.id

    @property
    def hub_id(self) -> str:
        """``owner/name`` on the model hub, or empty for weights that lie on this machine."""
        return self.source.removeprefix("hub:") if self.source.startswith("hub:") else ""

    @property
    def local_path(self) -> Path | None:
        """Where the weights lie on this machine, or None for a hub id."""
        return None if self.source.startswith("hub:") else Path(self.source)


def derived(
    base: BaseModel, *, name: str, source: str, title: str = "", license: str = "", about: str = ""
) -> BaseModel:
    """The same base model with a project's own weights in place of its weights.

    Args:
        name: `projects/{project}/baseModels/{base_model}`.
        source: absolute path of the checkpoint; anything where nothing is loaded.
    """
    _, project, _, identifier = name.split("/")
    folder = base.local_path
    configured = base.config_source or (str(folder) if folder is not None and folder.suffix != ".safetensors" else None)
    return replace(
        base,
        id=identifier,
        project=project,
        based_on=base.id,
        source=source,
        config_source=configured,
        title=title or identifier,
        description=about,
        license=license,
        license_url="",
    )


def load_catalogue(path: Path = DEFAULT_CATALOGUE, *, text: str | None = None) -> dict[str, BaseModel]:
    """Entries by id, in the order of the file, without those that say ``enabled = false``.

    text: read instead of the file at ``path``, whose folder relative sources still start from.

    Raises:
        InvalidCatalogue: when the file is missing, not TOML, or an entry is wrong.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8") if text is None else text)
    except FileNotFoundError as error:
        raise InvalidCatalogue(f"there is no catalogue of base models at {path}") from error
    except OSError as error:
        raise InvalidCatalogue(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidCatalogue(f"{path.name} is not valid TOML: {error}") from error
    entries = document.get("base_models", {})
    return {
        identifier: _base_model(identifier, entry, path.parent)
        for identifier, entry in entries.items()
        if entry.get("enabled", True)
    }


def _base_model(identifier: str, entry: Mapping[str, Any], folder: Path) -> BaseModel:
    if not _ID.fullmatch(identifier):
        raise InvalidCatalogue(f"base_models.{identifier}: an id has lower-case letters, digits, dots and hyphens")
    reader = _Reader(identifier, entry)
    family = reader.text("family")
    if family not in families():
        raise InvalidCatalogue(f"base_models.{identifier}.family: {family!r} is not one of {', '.join(families())}")
    facts = families()[family]
    style = reader.text("label_style", "sentence")
    if style not in ("sentence", "tags"):
        raise InvalidCatalogue(f"base_models.{identifier}.label_style: must be sentence or tags, not {style!r}")
    config = reader.text("config_source", "")
    adapter = reader.text("training_adapter", "")
    model = BaseModel(
        id=identifier,
        title=reader.text("title"),
        description=reader.text("description", ""),
        family=family,
        source=_absolute(reader.text("source"), folder),
        config_source=_absolute(config, folder) if config else None,
        architecture=_architecture(identifier, reader.text("architecture"), facts),
        license=reader.text("license"),
        license_url=reader.text("license_url", ""),
        resolution=reader.whole_number("resolution"),
        pixel_multiple=reader.whole_number("pixel_multiple", facts.pixel_multiple),
        label_style="tags" if style == "tags" else "sentence",
        memory_mib=reader.whole_number("memory_mib"),
        caption_tokens=reader.whole_number("caption_tokens", facts.caption_tokens),
        neutral_prompts=reader.texts("neutral_prompts"),
        preview_templates=reader.texts("preview_templates"),
        specs=_with_presets(
            identifier,
            reader.text("presets", ""),
            _specs(identifier, reader.table("parameters"), reader.whole_number("resolution"), facts),
        ),
        costs=_costs(identifier, reader.text("costs", ""), folder),
        training_adapter=str((folder / adapter).resolve()) if adapter else None,
        ships_regularization=_ships_regularization(
            [_absolute(source, folder) for source in (reader.text("source"), config) if source]
        ),
    )
    reader.refuse_the_rest()
    return model


def _costs(identifier: str, named: str, folder: Path) -> ModelCosts | None:
    """The counts of an architecture that ships with Fiveshot, or of the same id in a file that is named."""
    key = f"base_models.{identifier}.costs"
    if named.endswith(".json"):
        try:
            counted = read_costs(folder / named).get(identifier)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidCatalogue(f"{key}: {named} cannot be read ({error})") from error
        if counted is None:
            raise InvalidCatalogue(f"{key}: {named} says nothing of {identifier}")
        return counted
    shipped = read_costs()
    if named and named not in shipped:
        raise InvalidCatalogue(f"{key}: must be a .json file or one of {', '.join(sorted(shipped))}, not {named!r}")
    return shipped.get(named or identifier)


def _architecture(identifier: str, name: str, facts: FamilyFacts) -> str:
    """Readers of LoRA files go by it, so it is one of those that the family's facts know."""
    known = [architecture.name for architecture in facts.architectures]
    if name not in known:
        raise InvalidCatalogue(f"base_models.{identifier}.architecture: {name!r} is not one of {', '.join(known)}")
    return name


def _specs(
    identifier: str, changes: Mapping[str, Any], resolution: int, facts: FamilyFacts
) -> tuple[ParameterSpec, ...]:
    """The parameters with the entry's changes; adapters are those whose files some tool reads for the family."""
    specs = {spec.name: spec for spec in DEFAULT_SPECS}
    unknown = set(changes) - set(specs)
    if unknown:
        raise InvalidCatalogue(f"base_models.{identifier}.parameters: {', '.join(sorted(unknown))} is no parameter")
    try:
        given: dict[str, dict[str, Any]] = {
            "resolution": {"default": resolution},
            "adapter": {"choices": [name for name in specs["adapter"].choices if name in facts.adapters]},
        }
        if facts.text_stays_frozen:
            given["train_text_encoder"] = {"default": False, "choices": ["false"]}
        if facts.prediction_types:
            # Its noise does not move with the size of pictures: by_resolution would be logit_normal by another name.
            offers = [name for name in specs["timestep_sampling"].choices if name != "by_resolution"]
            given["timestep_sampling"] = {"choices": offers}
        else:
            # A flow's loss has one weight at all noise levels.
            given["min_snr_gamma"] = {"maximum": 0.0}
        offered = tuple(
            spec.override({**given.get(name, {}), **_changes(changes, spec)}) for name, spec in specs.items()
        )
    except InvalidParameter as error:
        raise InvalidCatalogue(f"base_models.{identifier}.parameters.{error.field}: {error.message}") from error
    unread = [name for spec in offered if spec.name == "adapter" for name in spec.choices if name not in facts.adapters]
    if unread:
        names = ", ".join(unread)
        raise InvalidCatalogue(f"base_models.{identifier}.parameters.adapter: no tool reads {names} of {facts.title}")
    return offered


def _with_presets(identifier: str, named: str, specs: tuple[ParameterSpec, ...]) -> tuple[ParameterSpec, ...]:
    """The parameters with the presets of a set, each of which must be one that the base model accepts."""
    if not named:
        return tuple(replace(spec, choices=("",)) if spec.name == "preset" else spec for spec in specs)
    if named not in preset_sets():
        known = ", ".join(preset_sets())
        raise InvalidCatalogue(f"base_models.{identifier}.presets: must be one of {known}, not {named!r}")
    sets = preset_sets()[named].presets
    offered = tuple(replace(spec, choices=("", *sets), sets=sets) if spec.name == "preset" else spec for spec in specs)
    for name in sets:
        try:
            resolve(offered, {"preset": name})
        except InvalidParameters as error:
            raise InvalidCatalogue(f"base_models.{identifier}.presets: {name} sets {error}") from error
    return offered


def _changes(changes: Mapping[str, Any], spec: ParameterSpec) -> Mapping[str, Any]:
    """A bare value in the file is short for ``{ default = value }``."""
    change = changes.get(spec.name, {})
    return change if isinstance(change, Mapping) else {"default": change}


def _ships_regularization(sources: Sequence[str]) -> bool | None:
    """Whether one of the places has the file; None where none of them can be looked into."""
    folders = [Path(source) for source in sources if not source.startswith("hub:") and Path(source).is_dir()]
    return any((folder / REGULARIZATION_FILE).is_file() for folder in folders) if folders else None


def _absolute(source: str, folder: Path) -> str:
    return source if source.startswith("hub:") else str((folder / source).resolve())


class _Reader:
    """Typed access to an entry's keys, and a complaint about keys that nobody asked for."""

    def __init__(self, identifier: str, entry: Mapping[str, Any]) -> None:
        self._identifier = identifier
        self._entry = dict(entry)
        self._entry.pop("enabled", None)
        self._seen: set[str] = set()

    def _value(self, key: str, default: Any, kind: type, article: str) -> Any:
        self._seen.add(key)
        value = self._entry.get(key, default)
        if value is None:
            raise InvalidCatalogue(f"base_models.{self._identifier}.{key} is missing; it is {article}")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InvalidCatalogue(f"base_models.{self._identifier}.{key}: must be {article}, got {value!r}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        return str(self._value(key, default, str, "text"))

    def whole_number(self, key: str, default: int | None = None) -> int:
        return int(self._value(key, default, int, "a whole number"))

    def texts(self, key: str) -> tuple[str, ...]:
        values = self._value(key, [], list, "a list of texts")
        if not all(isinstance(value, str) for value in values):
            raise InvalidCatalogue(f"base_models.{self._identifier}.{key}: must be a list of texts")
        return tuple(values)

    def table(self, key: str) -> Mapping[str, Any]:
        table: Mapping[str, Any] = self._value(key, {}, dict, "a table")
        return table

    def refuse_the_rest(self) -> None:
        unknown = set(self._entry) - self._seen
        if unknown:
            raise InvalidCatalogue(f"base_models.{self._identifier}: unknown keys {', '.join(sorted(unknown))}")
