"""A job goes on from an earlier LoRA: found, its shape taken over, and what would be lost refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from services.chassis.errors import DomainError, FailedPrecondition, InvalidArgument, NotFound
from services.trainer.models.job import EarlierLora, TrainingJob
from services.trainer.models.preview_request import epoch_of
from services.trainer.ports.previews import SavedVersion
from services.trainer.recipe.families import families
from services.trainer.recipe.lora_shape import LoraHeader, LoraShape, shape_of
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.continuing import EarlierLoras
from services.trainer.use_cases.planning import Planner
from tests.unit.trainer.verbs import BASE_MODEL, MODEL, NO_KEY, REQUEST, FakeDatasets, Verbs

VERSION = "projects/acme/models/rex/versions/2"
TO_Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
KOHYA_TO_Q = "lora_unet_" + TO_Q.replace(".", "_")
PEFT = (f"unet.{TO_Q}.lora_A.weight", f"unet.{TO_Q}.lora_B.weight")
OLD = (f"unet.{TO_Q}.lora.down.weight", f"unet.{TO_Q}.lora.up.weight")
KOHYA = tuple(f"{KOHYA_TO_Q}.{end}" for end in ("lora_down.weight", "lora_up.weight", "alpha"))


class _Versions:
    """Implements ports.previews.ModelVersions with one version. headers: by form, those that can be had."""

    def __init__(self, headers: Mapping[str, LoraHeader], *, stored: str = "diffusers", base: str = BASE_MODEL) -> None:
        self._headers = headers
        self._stored = stored
        self._base = base

    async def look(self, name: str) -> SavedVersion:
        if name not in (VERSION, VERSION.replace("/2", "/best")):
            raise NotFound(f"There is no {name}", reason="VERSION_NOT_FOUND", remedy="List them.")
        return SavedVersion(VERSION, self._base, {self._stored: "e" * 64, "preview-1": "f" * 64}, 8, 4.0)

    async def header(self, name: str, form: str) -> LoraHeader:
        if form not in self._headers:
            raise FailedPrecondition("It cannot be made", reason="FORM_NOT_POSSIBLE", remedy="Take another.")
        return self._headers[form]


def header(*names: str, **metadata: str) -> LoraHeader:
    return LoraHeader(names, metadata)


async def found(versions: _Versions, name: str = VERSION) -> tuple[EarlierLora, LoraShape]:
    loras = EarlierLoras(Verbs().store, versions, BaseModels({MODEL.id: MODEL}))
    answer = await loras.find(name, project="acme", model=MODEL)
    return answer.lora, answer.shape


async def trained(verbs: Verbs, **parameters: Any) -> TrainingJob:
    """A job with two epochs, in kohya's form alone."""
    job = await verbs.create(parameters={**REQUEST.parameters, **parameters})
    await verbs.take()
    for number in (1, 2):
        await verbs.finish_epoch(job.name, number)
    return await verbs.end(job.name)


def going_on(verbs: Verbs, versions: _Versions | None = None) -> Planner:
    catalogue = {MODEL.id: MODEL}
    earlier = EarlierLoras(verbs.store, versions or _Versions({}), BaseModels(catalogue))
    return Planner(BaseModels(catalogue), FakeDatasets(), min_images=1, earlier=earlier)


async def test_what_a_job_leaves_unset_is_the_earlier_loras() -> None:
    verbs = Verbs()
    job = await trained(verbs, rank=8, alpha=3.0, target_modules="attention_ff", adapter="rslora")
    epoch = f"{job.name}/epochs/2"
    planned = await going_on(verbs).plan(replace(REQUEST, initial_lora=epoch), store=False)
    given = planned.parameters
    assert (given.rank, given.alpha, given.target_modules, given.adapter) == (8, 3.0, "attention_ff", "rslora")
    assert planned.initial_lora == EarlierLora(epoch, "kohya", "a" * 64)
    grown = replace(REQUEST, initial_lora=epoch, parameters={**REQUEST.parameters, "rank": 12, "adapter": "dora"})
    given = (await going_on(verbs).plan(grown, store=False)).parameters
    assert (given.rank, given.adapter, given.target_modules) == (12, "dora", "attention_ff")
    assert epoch_of(epoch) == (job.name, 2)


@pytest.mark.parametrize(
    ("shape", "given", "fields"),
    [
        ({}, {"rank": 4}, ["rank"]),
        ({"target_modules": "all"}, {"target_modules": "attention"}, ["target_modules"]),
        ({"train_text_encoder": True}, {"train_text_encoder": False}, ["train_text_encoder"]),
        ({"adapter": "dora"}, {"adapter": "lora"}, ["adapter"]),
        ({"adapter": "lora"}, {"adapter": "lokr"}, ["adapter"]),
        ({"adapter": "loha"}, {"rank": 9}, ["rank"]),
        ({"target_modules": "all"}, {"rank": 1, "target_modules": "attention"}, ["rank", "target_modules"]),
        ({"adapter": "rslora"}, {"adapter": "lora", "rank": 9, "target_modules": "all"}, []),
        ({}, {"train_text_encoder": True}, []),
    ],
)
async def test_parameters_with_which_something_would_be_lost_are_named(
    shape: dict[str, Any], given: dict[str, Any], fields: list[str]
) -> None:
    earlier = replace(LoraShape("lora", 8, 8.0, "attention", False), **shape)
    faults = list(earlier.faults(resolve(DEFAULT_SPECS, earlier.over(given))))
    assert [fault.field for fault in faults] == fields
    verbs = Verbs()
    defaults = {"rank": 8, "target_modules": "attention", "train_text_encoder": False}
    job = await trained(verbs, **{**defaults, **shape})
    request = replace(REQUEST, initial_lora=f"{job.name}/epochs/1", parameters={**REQUEST.parameters, **given})
    if not fields:
        await going_on(verbs).plan(request, store=False)
        return
    with pytest.raises(InvalidArgument) as refused:
        await going_on(verbs).plan(request, store=False)
    assert refused.value.reason == "PARAMETER_INVALID"
    assert [each.field for each in refused.value.violations] == [f"training_job.parameters.{name}" for name in fields]


@pytest.mark.parametrize(
    ("stored", "headers", "form", "adapter"),
    [
        ("diffusers", {"diffusers": header(*PEFT)}, "diffusers", "lora"),
        ("diffusers", {"diffusers": header(*OLD), "kohya": header(*KOHYA)}, "kohya", "lora"),
        ("kohya", {"kohya": header(*KOHYA), "diffusers": header(*PEFT)}, "diffusers", "lora"),
        ("kohya", {"kohya": header(*KOHYA, f"{KOHYA_TO_Q}.dora_scale")}, "kohya", "dora"),
        ("kohya", {"kohya": header(f"{KOHYA_TO_Q}.hada_w1_a", f"{KOHYA_TO_Q}.alpha")}, "kohya", "loha"),
        ("peft", {"peft": header("base_model.model.x.lora_A.weight"), "diffusers": header(*PEFT)}, "diffusers", "lora"),
    ],
)
async def test_a_version_is_read_in_the_form_that_says_it_all(
    stored: str, headers: dict[str, LoraHeader], form: str, adapter: str
) -> None:
    lora, shape = await found(_Versions(headers, stored=stored), VERSION.replace("/2", "/best"))
    assert lora == EarlierLora(VERSION, form, "e" * 64)
    assert shape == LoraShape(adapter, 8, 4.0, "attention", False)


@pytest.mark.parametrize(
    ("versions", "name", "kind", "reason"),
    [
        (_Versions({}), "projects/acme/models/rex", InvalidArgument, "NAME_INVALID"),
        (_Versions({}), "projects/acme/datasets/dog", InvalidArgument, "NAME_INVALID"),
        (_Versions({}), "projects/other/models/rex/versions/2", InvalidArgument, "PROJECT_MISMATCH"),
        (_Versions({}), "projects/acme/models/max/versions/2", NotFound, "VERSION_NOT_FOUND"),
        (_Versions({}), "projects/acme/trainingJobs/none/epochs/1", NotFound, "JOB_NOT_FOUND"),
        (_Versions({}, base=""), VERSION, FailedPrecondition, "BASE_MODEL_UNKNOWN"),
        (_Versions({}, base="baseModels/other"), VERSION, FailedPrecondition, "BASE_MODELS_DIFFER"),
        (_Versions({}, stored="preview-1"), VERSION, FailedPrecondition, "INITIAL_LORA_UNFIT"),
        (_Versions({"kohya": header(*KOHYA)}, stored="kohya"), VERSION, FailedPrecondition, "FORM_NOT_POSSIBLE"),
        (
            _Versions({"diffusers": header("transformer.a.lora_A.weight")}),
            VERSION,
            FailedPrecondition,
            "INITIAL_LORA_UNFIT",
        ),
    ],
)
async def test_what_cannot_be_gone_on_from_is_refused_by_its_field(
    versions: _Versions, name: str, kind: type[DomainError], reason: str
) -> None:
    with pytest.raises(kind) as refused:
        await found(versions, name)
    assert refused.value.reason == reason
    assert [each.field for each in refused.value.violations] == ["training_job.initial_lora"]
    assert refused.value.remedy


async def test_a_refused_one_leaves_no_frozen_version_and_no_job() -> None:
    verbs = Verbs()
    with pytest.raises(InvalidArgument):
        await going_on(verbs).plan(replace(REQUEST, initial_lora="projects/acme/models/rex"), store=True)
    assert verbs.datasets.pinned == []
    assert await verbs.store.recall(NO_KEY) is None


@pytest.mark.parametrize("name", ["stable-diffusion", "sdxl", "flux", "z-image"])
@pytest.mark.parametrize("form", ["kohya", "diffusers"])
def test_groups_of_layers_are_known_by_their_names_in_every_family(name: str, form: str) -> None:
    family = families()[name]
    component, targets = family.denoiser.component, family.denoiser.targets
    inside = {"flux": "transformer_blocks.0", "z-image": "layers.0"}.get(name, TO_Q.removesuffix(".attn1.to_q"))
    attention = [f"{inside}.{ending}" for ending in targets.attention if not ending.startswith("proj")]
    feed_forward = [f"{inside}.{ending}" for ending in targets.attention_ff if "." in ending or "w" in ending]

    def spelt(layers: list[str]) -> LoraHeader:
        config = {"layers_per_block": 2, "down_block_types": [""] * 3}
        if form == "kohya":
            return header(*(f"{family.kohya_key(component, layer, config)}.lora_down.weight" for layer in layers))
        return header(*(f"{family.diffusers_key(component, layer)}.lora_A.weight" for layer in layers))

    def group(layers: list[str]) -> str:
        return shape_of(spelt(layers), family, rank=4, alpha=0.0).target_modules

    assert group(attention) == "attention"
    assert group([*attention, *feed_forward]) == "attention_ff"
    assert group([*attention, f"{inside}.something"]) == "all"


def test_words_of_a_file_count_only_as_far_as_its_tensors_agree() -> None:
    family = families()["stable-diffusion"]

    def shape(names: tuple[str, ...], said: object) -> LoraShape:
        return shape_of(LoraHeader(names, {"ss_network_args": json.dumps(said)}), family, rank=4, alpha=2.0)

    assert shape(PEFT, {"algo": "rslora", "target_modules": "all"}) == LoraShape("rslora", 4, 2.0, "all", False)
    assert shape(PEFT, {"algo": "lokr", "target_modules": "mine"}) == LoraShape("lora", 4, 2.0, "attention", False)
    assert shape((*KOHYA, f"{KOHYA_TO_Q}.dora_scale"), {"algo": "lora"}).adapter == "dora"
    assert shape(PEFT, ["x"]).adapter == "lora"
    deep = LoraHeader(PEFT, {"ss_network_args": "[" * 200_000})
    assert shape_of(deep, family, rank=4, alpha=2.0).adapter == "lora"
    unknown = replace(shape(PEFT, {}), adapter="lokr", rank=0)
    assert unknown.over({}) == {"adapter": "lokr", "target_modules": "attention", "train_text_encoder": False}
    assert list(unknown.faults(resolve(DEFAULT_SPECS, unknown.over({"rank": 9})))) == []
    text = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight"
    assert shape((*PEFT, text), {}).train_text_encoder
    with pytest.raises(ValueError, match="holds no layer of the unet"):
        shape((text,), {})
