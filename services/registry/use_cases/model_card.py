"""The model card: Markdown whose front matter model hubs read.

Format: https://huggingface.co/docs/hub/model-cards and the fields that the hub's LoRA galleries use (`base_model`,
`base_model_relation`, `instance_prompt`, `widget`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import yaml

from services.registry.models.names import CONTACT_SHEET, DIFFUSERS, KOHYA
from services.registry.models.resources import BaseModelFacts, EpochFile, FinishedEpoch

# Licences that the hub knows by these ids; any other is named in full beside `other`.
_HUB_LICENSES = frozenset(
    ("apache-2.0", "mit", "openrail", "openrail++", "creativeml-openrail-m", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0")
)
# What trainers write into a LoRA and people ask of it.
_SAID_BY_FILES = (
    "modelspec.title", "modelspec.architecture", "ss_base_model_version", "ss_sd_model_name", "ss_network_module",
    "ss_num_epochs", "ss_epoch", "ss_steps", "ss_learning_rate", "ss_optimizer", "ss_resolution",
)  # fmt: skip
_SAID = 200
_PRETENDED = (
    "> **Pretended.** Nothing was trained: the worker was one that only pretends to, for tests of programs. "
    "The files change nothing of a picture."
)


class _OneLine(yaml.SafeDumper):
    """Writes a text with line breaks quoted on one line: hubs find the end of the front matter by a line `---`."""


_OneLine.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if len(text.splitlines()) > 1 else None
    ),
)

_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#])")


def model_card(display_name: str, description: str, epoch: FinishedEpoch) -> str:
    """The card of a version that is made from `epoch`."""
    words = ", ".join(epoch.trigger_words)
    sections = [
        f"---\n{_front_matter(epoch.base_model, words, _widget(epoch), pretended=epoch.pretended)}---",
        f"# {_inline(display_name)}",
        _PRETENDED if epoch.pretended else "",
        description.strip(),
        _introduction(epoch),
        _gallery(epoch),
        _with_diffusers(epoch),
        _with_kohya(epoch),
        _notes(epoch),
        _training(epoch),
        _files(epoch.files),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def uploaded_card(
    display_name: str,
    description: str,
    file: EpochFile,
    base_model: BaseModelFacts,
    *,
    trigger_word: str,
    rank: int,
    alpha: float,
    metadata: Mapping[str, str],
) -> str:
    """The card of a version that is made from a file of somebody's. metadata: what the file says of itself."""
    base = base_model.display_name or base_model.hub_id or base_model.name.removeprefix("baseModels/")
    of = f" of {_inline(base)}" if base else ""
    text = f"A LoRA{of}, rank {rank}, from the uploaded file `{file.file_name}`."
    if trigger_word:
        text += f" Write **{_inline(trigger_word)}** in a prompt to get the subject."
    said = [(key, _inline(metadata[key])[:_SAID]) for key in _SAID_BY_FILES if metadata.get(key)]
    sections = [
        f"---\n{_front_matter(base_model, trigger_word, [])}---",
        f"# {_inline(display_name)}",
        description.strip(),
        text,
        _table("Adapter", ("", "value"), [("rank", str(rank)), ("alpha", f"{alpha:g}")]),
        _table("What the file says of itself", ("", "value"), said),
        _files([file]),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(base: BaseModelFacts, trigger_word: str, widget: Sequence[object], *, pretended: bool = False) -> str:
    fields: dict[str, object] = {}
    if base.name:
        fields = {"base_model": _base_id(base), "base_model_relation": "adapter"}
    license_id = base.license.lower()
    if license_id in _HUB_LICENSES:
        fields["license"] = license_id
    elif license_id:
        fields |= {"license": "other", "license_name": base.license}
    fields |= {"library_name": "diffusers", "pipeline_tag": "text-to-image"}
    if trigger_word:
        fields["instance_prompt"] = trigger_word
    fields["tags"] = ["text-to-image", "lora", *base.hub_tags, "template:sd-lora", "fiveshot"]
    if pretended:
        fields["tags"] = ["pretended", "fiveshot"]
    if widget:
        fields["widget"] = widget
    return yaml.dump(fields, Dumper=_OneLine, sort_keys=False, allow_unicode=True, width=100_000)


def _widget(epoch: FinishedEpoch) -> list[object]:
    names = {file.file_id: file.file_name for file in epoch.files}
    return [
        {"text": preview.prompt, "output": {"url": names[preview.file_id]}}
        for preview in epoch.previews
        if preview.file_id in names
    ]


def _introduction(epoch: FinishedEpoch) -> str:
    base = epoch.base_model.display_name or _base_id(epoch.base_model)
    text = f"A LoRA of {_inline(base)}, rank {epoch.rank}, trained on {epoch.image_count} pictures."
    words = [f"**{_inline(word)}**" for word in epoch.trigger_words]
    if len(words) == 1:
        text += f" Write {words[0]} in a prompt to get the subject."
    elif words:
        text += f" Write {' or '.join(words)} in a prompt to get one of its subjects."
    return text


def _gallery(epoch: FinishedEpoch) -> str:
    names = {file.file_id: file.file_name for file in epoch.files}
    rows = [
        (f"![{_inline(preview.prompt)}]({names[preview.file_id]})", _inline(preview.prompt), str(preview.seed))
        for preview in epoch.previews
        if preview.file_id in names
    ]
    table = _table("Previews", ("picture", "prompt", "seed"), rows)
    sheet = names.get(CONTACT_SHEET)
    return (
        f"{table}\n\n![The training pictures, and the previews of every epoch]({sheet})" if table and sheet else table
    )


def _with_diffusers(epoch: FinishedEpoch) -> str:
    file = _file(epoch, DIFFUSERS) or _file(epoch, KOHYA)
    if file is None:
        return ""
    hub_id = epoch.base_model.hub_id
    base = hub_id or f"path/to/{_base_id(epoch.base_model)}"
    prompt = epoch.previews[0].prompt if epoch.previews else epoch.trigger_word
    code = "\n".join(
        (
            "from diffusers import DiffusionPipeline",
            "",
            f"pipeline = DiffusionPipeline.from_pretrained({base!r})",
            f'pipeline.load_lora_weights("path/to/this/folder", weight_name={file.file_name!r})',
            f"image = pipeline({prompt!r}).images[0]",
        )
    )
    return f"## With diffusers\n\n```python\n{code}\n```"


def _with_kohya(epoch: FinishedEpoch) -> str:
    file = _file(epoch, KOHYA)
    if file is None:
        return ""
    stem = file.file_name.removesuffix(".safetensors")
    return (
        "## With A1111, Forge and ComfyUI\n\n"
        f"Put `{file.file_name}` into `models/Lora` (A1111, Forge) or `models/loras` (ComfyUI). "
        f"In A1111 write `<lora:{stem}:1>` and the trigger word into the prompt; "
        "in ComfyUI add a *Load LoRA* node between the checkpoint and what follows it."
    )


def _notes(epoch: FinishedEpoch) -> str:
    lines = "\n".join(f"- {_inline(note)}" for note in epoch.file_notes)
    return f"## Where it looks different\n\n{lines}" if lines else ""


def _training(epoch: FinishedEpoch) -> str:
    rows = [
        ("base model", f"`{_base_id(epoch.base_model)}`"),
        *_datasets(epoch),
        ("training job", f"`{epoch.training_job}`"),
        *([("went on from", f"`{epoch.initial_lora}`")] if epoch.initial_lora else []),
        ("epoch", str(epoch.number)),
        ("optimizer steps", str(epoch.step)),
        ("mean loss", f"{epoch.loss:.5f}"),
        ("rank", str(epoch.rank)),
        ("alpha", f"{epoch.alpha:g}"),
        *((name, f"`{value}`") for name, value in epoch.settings.items()),
    ]
    return _table("Training", ("", "value"), rows)


def _datasets(epoch: FinishedEpoch) -> list[tuple[str, str]]:
    if not epoch.datasets:
        return [("dataset version", f"`{epoch.dataset_version}`, SHA-256 `{epoch.dataset_digest}`")]
    return [
        (
            "regularisation pictures" if each.regularization else f"dataset version, weight {each.weight:g}",
            f"`{each.dataset_version}`, SHA-256 `{each.dataset_digest}`",
        )
        for each in epoch.datasets
    ]


def _files(files: Sequence[EpochFile]) -> str:
    # Of a version that is only planned not all is known.
    known = [(str(file.size_bytes), f"`{file.sha256}`") if file.sha256 else ("", "") for file in files]
    rows = [(f"`{file.file_name}`", file.file_id, *rest) for file, rest in zip(files, known, strict=True)]
    return _table("Files", ("file", "form", "bytes", "SHA-256"), rows)


def _table(title: str, header: Sequence[str], rows: Sequence[Iterable[str]]) -> str:
    if not rows:
        return ""
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}", *(f"| {' | '.join(row)} |" for row in rows)]
    return f"## {title}\n\n" + "\n".join(lines)


def _file(epoch: FinishedEpoch, file_id: str) -> EpochFile | None:
    return next((file for file in epoch.files if file.file_id == file_id), None)


def _base_id(base: BaseModelFacts) -> str:
    return base.hub_id or base.name.removeprefix("baseModels/")


def _inline(text: str) -> str:
    """Text of people's as one line of Markdown that means itself."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
