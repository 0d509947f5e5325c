"""What a job costs, by the counted numbers of its architecture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE, InvalidCatalogue, load_catalogue
from services.trainer.recipe.costs import COSTS_FILE, job_cost, read_costs
from services.trainer.recipe.parameters import resolve
from services.trainer.recipe.plan import PictureSize, plan_job
from tests.unit.trainer.measured import MODEL, cost, parameters


def test_a_sample_more_costs_its_share() -> None:
    assert MODEL.costs is not None
    one, two, three = (MODEL.costs.train(parameters(), 1.0, batch) for batch in (1, 2, 3))
    assert three.flops - two.flops == pytest.approx(two.flops - one.flops)
    assert two.kernels == pytest.approx(one.kernels, rel=0.05)
    assert one.peak < two.peak < three.peak


def test_work_grows_with_rank_targets_and_resolution_and_memory_shrinks_with_checkpointing() -> None:
    plain = cost(parameters())
    for changes in ({"rank": 64}, {"resolution": 128}, {"gradient_checkpointing": True}, {"adapter": "dora"}):
        assert cost(parameters(**changes)).of_epoch["training"].flops > plain.of_epoch["training"].flops, changes
    lean = cost(parameters(target_modules="attention", train_text_encoder=False))
    assert lean.of_epoch["training"].flops < plain.of_epoch["training"].flops
    large = parameters(batch_size=32, crop_variants=1, flip=False, regularization_fraction=0.0)
    held = cost(large).memory_bytes
    assert cost(parameters(**_as(large, gradient_checkpointing=True))).memory_bytes < held
    assert cost(parameters(**_as(large, batch_size=16))).memory_bytes < held


def test_previews_cost_their_steps_twice_under_guidance() -> None:
    guided, plain = (cost(parameters(preview_guidance=guidance)) for guidance in (3.0, 1.0))
    assert guided.of_epoch["sampling"].flops > 1.5 * plain.of_epoch["sampling"].flops
    longer = cost(parameters(preview_steps=30))
    assert longer.of_epoch["sampling"].flops > 1.8 * cost(parameters(preview_steps=15)).of_epoch["sampling"].flops


@pytest.mark.parametrize("pictures", [7, 100])
def test_the_end_of_an_epoch_of_sdxl_costs_at_most_49_predictions(tmp_path: Path, pictures: int) -> None:
    """A hundred samples an epoch at 1024 pixels, with and without a held-out picture; decoding apart."""
    offered = DEFAULT_CATALOGUE.with_name("base_models.example.toml").read_text().replace("enabled = false", "")
    (tmp_path / "all.toml").write_text(offered)
    sdxl = load_catalogue(tmp_path / "all.toml")["sdxl"]
    assert sdxl.costs is not None
    chosen = resolve(sdxl.specs, {"num_repeats": 100 // pictures})
    plan = plan_job([PictureSize(1024, 1024)] * pictures, chosen, sdxl.pixel_multiple)
    of_job = job_cost(sdxl.costs, chosen, plan, neutral_prompts=4)
    end = of_job.of_epoch["sampling"].flops + of_job.of_epoch["evaluation"].flops
    end -= sdxl.costs.decode(1.0, 3).flops
    assert end <= 49 * sdxl.costs.predict(chosen, 1.0, 1, adapted=True).flops
    whole = sum(part.flops for part in of_job.work.values())
    assert of_job.work["training"].flops > 0.74 * whole


def test_a_job_is_what_comes_before_and_its_epochs() -> None:
    of_job = cost(parameters(num_epochs=3))
    assert of_job.work["training"].flops == pytest.approx(3 * of_job.of_epoch["training"].flops)
    expected = of_job.before["sampling"].flops + 3 * of_job.of_epoch["sampling"].flops
    assert of_job.work["sampling"].flops == pytest.approx(expected)
    half = of_job.done(1, trained=0.5)
    assert half["training"].flops == pytest.approx(0.5 * of_job.of_epoch["training"].flops)


def test_a_small_last_batch_is_counted_as_it_is() -> None:
    # 5 x 3 = 15 samples: a batch of 8 and one of 7 cost in FLOPs what fifteen single ones do.
    whole = cost(parameters(num_repeats=3, batch_size=8, regularization_fraction=0.0)).of_epoch["training"]
    single = cost(parameters(num_repeats=3, batch_size=1, regularization_fraction=0.0)).of_epoch["training"]
    assert whole.flops == pytest.approx(single.flops, rel=0.05)
    assert single.kernels > 5 * whole.kernels


def test_a_preservation_loss_costs_another_pass_and_a_prediction_and_no_memory() -> None:
    plain = cost(parameters(regularization_fraction=0.0))
    kept = cost(parameters(regularization_fraction=0.0, preservation_weight=1.0))
    ratio = kept.of_epoch["training"].flops / plain.of_epoch["training"].flops
    assert 2.2 < ratio < 2.6
    assert kept.of_epoch["training"].kernels > 2 * plain.of_epoch["training"].kernels
    assert kept.memory_bytes == plain.memory_bytes
    assert kept.of_epoch["sampling"] == plain.of_epoch["sampling"]


@pytest.mark.parametrize(
    ("name", "weights", "side", "milliseconds"),
    # Weights as published with the models; the least time of a picture on a GPU of 790 TFLOP/s, worked out by hand.
    [
        ("sd-1.5", 859_520_964, 512, 2.2),
        ("sdxl", 2_567_463_684, 512, 4.0),
        ("sdxl", 2_567_463_684, 1024, 18.0),
        ("flux-1", 11_901_408_320, 512, 57.0),
        ("flux-1", 11_901_408_320, 1024, 207.0),
    ],
)
def test_public_architectures_have_their_known_size_and_floor(
    name: str, weights: int, side: int, milliseconds: float
) -> None:
    costs = read_costs()[name]
    assert costs.weights["denoiser"] == weights
    chosen = parameters(mixed_precision="bf16", target_modules="attention", train_text_encoder=False, rank=16)
    work = costs.train(chosen, (side / costs.side) ** 2, 1)
    assert work.flops / 790e12 * 1000 == pytest.approx(milliseconds, rel=0.06)


def test_checkpointing_computes_more_and_holds_less_than_half() -> None:
    for name in ("sd-1.5", "sdxl", "flux-1"):
        costs = read_costs()[name]
        plain, saving = (
            costs.train(parameters(mixed_precision="bf16", gradient_checkpointing=on), 1.0, 2) for on in (False, True)
        )
        assert saving.peak < plain.peak / 2
        assert 1.2 * plain.flops < saving.flops < 1.6 * plain.flops


def test_a_catalogue_may_name_the_costs_of_an_architecture_or_a_file(tmp_path: Path) -> None:
    entry = (
        '[base_models.mine]\ntitle = "Mine"\nfamily = "stable-diffusion"\nsource = "x"\narchitecture = '
        '"stable-diffusion-v1"\nlicense = "MIT"\nresolution = 64\npixel_multiple = 16\nmemory_mib = 100\n'
    )
    path = tmp_path / "catalogue.toml"
    path.write_text(entry)
    assert load_catalogue(path)["mine"].costs is None
    path.write_text(f'{entry}costs = "fiveshot-tiny"\n')
    assert load_catalogue(path)["mine"].costs == MODEL.costs
    counted = json.loads(COSTS_FILE.read_text("utf-8"))["fiveshot-tiny"]
    (tmp_path / "mine.json").write_text(json.dumps({"mine": counted}))
    path.write_text(f'{entry}costs = "mine.json"\n')
    own = load_catalogue(path)["mine"].costs
    assert own is not None
    assert own.weights == counted["weights"]
    for wrong in ("absent", "absent.json"):
        path.write_text(f'{entry}costs = "{wrong}"\n')
        with pytest.raises(InvalidCatalogue, match="costs"):
            load_catalogue(path)


def _as(chosen: object, **changes: object) -> dict[str, object]:
    """Parameters as changes of the default ones."""
    names = ("batch_size", "crop_variants", "flip", "regularization_fraction")
    return {**{name: getattr(chosen, name) for name in names}, **changes}


def test_more_previews_cost_more() -> None:
    three, six = cost(parameters()), cost(parameters(preview_prompts=("a",) * 6))
    sampling = {"three": three.of_epoch["sampling"].flops, "six": six.of_epoch["sampling"].flops}
    assert sampling["six"] == pytest.approx(2 * sampling["three"])
