"""The model card: its front matter is what hubs read, its text means what people wrote."""

from __future__ import annotations

import re
from dataclasses import replace

import yaml

from services.registry.models.resources import LineageDataset
from services.registry.use_cases.model_card import model_card
from tests.fakes.finished_epochs import PROMPTS, finished_epoch


def front_matter(card: str) -> dict[str, object]:
    # The expression by which the hub's own library finds it.
    found = re.match(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|$))", card)
    assert found is not None
    text, rest = found.group(2), card[found.end() :]
    assert rest.startswith("\n# ")
    assert len(text.splitlines()) == text.count("\n") + 1
    fields = yaml.safe_load(text)
    assert isinstance(fields, dict)
    return fields


def test_the_front_matter_has_what_hubs_read() -> None:
    fields = front_matter(model_card("Rex", "", finished_epoch()))
    assert fields["base_model"] == "tiny"
    assert fields["base_model_relation"] == "adapter"
    assert fields["library_name"] == "diffusers"
    assert fields["instance_prompt"] == "sks dog"
    assert fields["license"] == "apache-2.0"
    assert {"lora", "stable-diffusion", "text-to-image"} <= set(fields["tags"])  # type: ignore[call-overload]
    assert fields["widget"] == [
        {"text": prompt, "output": {"url": f"preview-{number}.png"}} for number, prompt in enumerate(PROMPTS, 1)
    ]


def test_a_base_model_of_a_hub_is_named_by_its_id_there() -> None:
    epoch = finished_epoch()
    hub = replace(epoch.base_model, hub_id="stabilityai/sdxl-base", hub_tags=("xl",), license="Some Own License 1.0")
    card = model_card("Rex", "", replace(epoch, base_model=hub))
    fields = front_matter(card)
    assert fields["base_model"] == "stabilityai/sdxl-base"
    assert "xl" in fields["tags"]  # type: ignore[operator]
    assert (fields["license"], fields["license_name"]) == ("other", "Some Own License 1.0")
    assert "from_pretrained('stabilityai/sdxl-base')" in card


def test_people_s_words_cannot_break_out_of_their_place() -> None:
    epoch = replace(finished_epoch(), trigger_word="x: [y]\n---\n# z")
    card = model_card("**bold**\n# not a heading", "", epoch)
    assert front_matter(card)["instance_prompt"] == "x: [y]\n---\n# z"
    assert r"# \*\*bold\*\* \# not a heading" in card
    rows = [line for line in card.splitlines() if line.startswith("| ![")]
    assert len(rows) == 3
    assert all(line.replace(r"\|", "").count("|") == 4 for line in rows)
    assert [line for line in card.splitlines() if line.startswith("# ")] == [r"# \*\*bold\*\* \# not a heading"]


def test_the_python_that_it_shows_compiles_and_names_the_diffusers_file() -> None:
    card = model_card("Rex", "A dog.", replace(finished_epoch(), previews=finished_epoch().previews[2:]))
    code = card.split("```python\n")[1].split("\n```")[0]
    compile(code, "model card", "exec")
    assert "weight_name='rex-diffusers.safetensors'" in code
    assert "`rex-kohya.safetensors` into `models/Lora`" in card
    assert "<lora:rex-kohya:1>" in card


def test_the_gallery_shows_every_preview_and_the_contact_sheet() -> None:
    card = model_card("Rex", "", finished_epoch())
    assert [f"](preview-{number}.png)" in card for number in (1, 2, 3)] == [True] * 3
    sheet = "![The training pictures, and the previews of every epoch](contact-sheet.png)"
    assert f"\n\n{sheet}\n" in card
    without = replace(finished_epoch(), files=finished_epoch().files[:-1])
    assert sheet not in model_card("Rex", "", without)


def test_what_an_epoch_lacks_is_left_out() -> None:
    epoch = finished_epoch()
    bare = replace(
        epoch, previews=(), trigger_word="", files=epoch.files[1:2], base_model=replace(epoch.base_model, license="")
    )
    card = model_card("Rex", "", bare)
    fields = front_matter(card)
    assert not {"widget", "instance_prompt", "license"} & set(fields)
    assert "## Previews" not in card
    assert "ComfyUI" not in card


def test_what_training_went_on_from_is_told() -> None:
    lora = "projects/acme/models/rex/versions/1"
    went_on = replace(finished_epoch(), initial_lora=lora)
    assert f"| went on from | `{lora}` |" in model_card("Rex", "", went_on)
    assert went_on.lineage.initial_lora == lora
    assert "went on" not in model_card("Rex", "", finished_epoch())


def test_the_words_and_versions_of_several_datasets_are_told() -> None:
    rex = LineageDataset("projects/acme/datasets/rex/versions/1", "a" * 64, 1.0, False, "sks")
    mia = LineageDataset("projects/acme/datasets/mia/versions/2", "b" * 64, 0.5, False, "qux")
    cats = LineageDataset("projects/acme/datasets/cats/versions/3", "c" * 64, 0.0, True, "")
    card = model_card("Both", "", replace(finished_epoch(), datasets=(rex, mia, cats)))
    assert front_matter(card)["instance_prompt"] == "sks, qux"
    assert "Write **sks** or **qux** in a prompt to get one of its subjects." in card
    assert f"| dataset version, weight 0.5 | `{mia.dataset_version}`, SHA-256 `{mia.dataset_digest}` |" in card
    assert f"| regularisation pictures | `{cats.dataset_version}`, SHA-256 `{cats.dataset_digest}` |" in card


def test_a_pretended_epoch_says_so_before_all_else() -> None:
    card = model_card("Rex", "", replace(finished_epoch(), pretended=True))
    assert front_matter(card)["tags"] == ["pretended", "fiveshot"]
    assert card.partition("# Rex\n\n")[2].startswith("> **Pretended.**")
    assert "retended" not in model_card("Rex", "", finished_epoch())
