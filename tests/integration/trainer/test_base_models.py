"""Every way a base model may come gives the same predictions, and every way that is unsafe or unusable is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, PNDMScheduler, UNet2DConditionModel
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.trainer.engine.errors import EngineError
from services.trainer.engine.families import load_family
from services.trainer.engine.families.base import Family
from services.trainer.engine.job import BaseModelFiles
from tests.fixtures.miniatures import (
    MINIATURES,
    TEXT_WIDTH,
    write_flux,
    write_sd3,
    write_sdxl,
    write_stable_diffusion,
    write_z_image,
)
from tests.fixtures.single_file import write_sd3_without_text, write_single_file, write_z_image_alone

CPU = torch.device("cpu")


def loaded(files: BaseModelFiles) -> Family:
    return load_family(files, CPU, torch.float32)


def answer(family: Family) -> Tensor:
    """A prediction that depends on the text encoder and the denoiser, and a latent on the autoencoder."""
    torch.manual_seed(4)
    noisy, pixels = torch.randn(1, 4, 8, 8), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        predicted = family.predict(noisy, torch.tensor([300]), family.encode_text(["a red ball"]))
        return torch.cat([predicted, family.encode_pixels(pixels).mean])


def test_a_single_checkpoint_is_the_model_of_its_folder(base_model: BaseModelFiles, tmp_path: Path) -> None:
    path, config = write_single_file(Path(base_model.source), tmp_path / "single")
    assert not list(config.rglob("*.safetensors"))
    files = dataclasses.replace(base_model, source=str(path), config_source=str(config))
    torch.testing.assert_close(answer(loaded(files)), answer(loaded(base_model)))


def test_a_single_checkpoint_of_xl_has_both_of_its_text_encoders(tmp_path: Path) -> None:
    folder = write_sdxl(tmp_path / "folder", wide=24)
    path, config = write_single_file(Path(folder.source), tmp_path / "single", layers_per_block=2)
    files = dataclasses.replace(folder, source=str(path), config_source=str(config))
    torch.testing.assert_close(answer(loaded(files)), answer(loaded(folder)))
    assert loaded(files).schedule.prediction_type == "epsilon"
    # As NoobAI's v-prediction is published.
    with_keys(path, "v_pred", "ztsnr")
    told = loaded(files).schedule
    assert (told.prediction_type, told.zero_terminal_snr) == ("v_prediction", True)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_transformer_as_comfyui_saves_it_is_read_with_its_prefix(tmp_path: Path, prefix: str) -> None:
    files = MINIATURES["qwen-image"](tmp_path / "whole")
    (weights,) = (tmp_path / "whole" / "transformer").glob("*.safetensors")
    path = tmp_path / "house.safetensors"
    save_file({f"{prefix}{name}": tensor for name, tensor in load_file(weights).items()}, path)
    alone = loaded(dataclasses.replace(files, source=str(path), config_source=files.source))
    ours, theirs = (family.denoiser.state_dict() for family in (alone, loaded(files)))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("kind", ["whole", "without its weights"])
def test_a_transformer_that_is_shared_alone_takes_the_rest_from_its_folder(tmp_path: Path, kind: str) -> None:
    files = write_z_image(tmp_path / "whole")
    path = write_z_image_alone(tmp_path / "whole", tmp_path / "z_image.safetensors")
    shutil.copytree(tmp_path / "whole", tmp_path / "rest")
    if kind == "without its weights":
        for weights in (tmp_path / "rest" / "transformer").glob("*.safetensors"):
            weights.unlink()
    one = loaded(dataclasses.replace(files, source=str(path), config_source=str(tmp_path / "rest")))
    noisy, told = torch.randn(1, 16, 8, 8), torch.tensor([0.4])
    with torch.no_grad():
        answers = [family.predict(noisy, told, family.encode_text(["a dog"])) for family in (one, loaded(files))]
    torch.testing.assert_close(*answers)
    shutil.rmtree(tmp_path / "rest" / "text_encoder")
    with pytest.raises(EngineError, match="has no text encoder") as caught:
        loaded(dataclasses.replace(files, source=str(path), config_source=str(tmp_path / "rest")))
    assert caught.value.reason == "BASE_MODEL_INCOMPLETE"


def test_a_file_without_text_encoders_takes_them_from_its_folder(tmp_path: Path) -> None:
    """As Stable Diffusion 3.5 is published, with the autoencoder inside."""
    files = write_sd3(tmp_path / "whole", dual=(0,))
    path = write_sd3_without_text(tmp_path / "whole", tmp_path / "sd3.5.safetensors")
    (transformer,) = (tmp_path / "whole" / "transformer").glob("*.safetensors")
    whole = loaded(files)
    transformer.unlink()
    one = loaded(dataclasses.replace(files, source=str(path), config_source=files.source))
    noisy, told = torch.randn(1, 16, 8, 8), torch.tensor([0.4])
    with torch.no_grad():
        answers = [family.predict(noisy, told, family.encode_text(["a dog"])) for family in (one, whole)]
    torch.testing.assert_close(*answers)


def with_keys(path: Path, *names: str) -> None:
    """Add keys that say something by their names alone."""
    save_file({**load_file(path), **{name: torch.tensor([]) for name in names}}, path)


@pytest.mark.parametrize(
    ("configured", "metadata", "told"),
    [
        ("epsilon", {"modelspec.prediction_type": "v"}, "v_prediction"),
        ("epsilon", {"modelspec.predict_key": "v"}, "v_prediction"),
        ("v_prediction", {"modelspec.prediction_type": "epsilon"}, "epsilon"),
        ("v_prediction", {"modelspec.prediction_type": "", "modelspec.title": "v"}, "v_prediction"),
    ],
)
def test_a_single_checkpoint_that_says_in_its_metadata_how_it_predicts_is_obeyed(
    tmp_path: Path, configured: str, metadata: dict[str, str], told: str
) -> None:
    files = write_stable_diffusion(tmp_path / "base", configured)
    path, config = write_single_file(tmp_path / "base", tmp_path / "single")
    save_file(load_file(path), path, metadata={"format": "pt", **metadata})
    family = loaded(dataclasses.replace(files, source=str(path), config_source=str(config)))
    assert family.schedule.prediction_type == told
    assert family.pipeline().scheduler.config.prediction_type == told


@pytest.mark.parametrize("scheduler", [DDIMScheduler, PNDMScheduler, EulerDiscreteScheduler])
def test_a_single_checkpoint_that_says_how_it_predicts_is_obeyed(tmp_path: Path, scheduler: Any) -> None:
    wanted = write_stable_diffusion(tmp_path / "wanted", "v_prediction")
    scheduler_of(tmp_path / "wanted", rescale_betas_zero_snr=True)
    files = write_stable_diffusion(tmp_path / "base", "epsilon")
    changes = {} if scheduler is DDIMScheduler else {"_class_name": scheduler.__name__}
    scheduler_of(tmp_path / "base", **changes)
    path, config = write_single_file(tmp_path / "base", tmp_path / "single")
    with_keys(path, "v_pred", "ztsnr")
    one, other = loaded(dataclasses.replace(files, source=str(path), config_source=str(config))), loaded(wanted)
    position = torch.linspace(0, 0.999, 7)
    latents, noise = torch.randn(7, 4, 8, 8), torch.randn(7, 4, 8, 8)
    for ask in ("noisy", "target"):
        answers = [getattr(family.schedule, ask)(latents, noise, position) for family in (one, other)]
        torch.testing.assert_close(*answers)
    assert not torch.equal(one.schedule.target(latents, noise, position), noise)
    # The last level is noise alone.
    torch.testing.assert_close(one.schedule.noisy(latents, noise, position)[-1], noise[-1], rtol=0, atol=1e-2)
    sampled = one.pipeline().scheduler.config
    assert (sampled.prediction_type, sampled.rescale_betas_zero_snr) == ("v_prediction", True)


@pytest.mark.parametrize(
    ("keys", "words"),
    [(("ztsnr",), "zero terminal SNR"), (("edm_mean", "edm_std"), "EDM"), (("edm_vpred.sigma_max",), "EDM")],
)
def test_a_single_checkpoint_whose_noise_cannot_be_trained_is_refused(
    tmp_path: Path, keys: tuple[str, ...], words: str
) -> None:
    files = write_stable_diffusion(tmp_path / "base", "epsilon")
    path, config = write_single_file(tmp_path / "base", tmp_path / "single")
    with_keys(path, *keys)
    with pytest.raises(EngineError, match=words) as caught:
        loaded(dataclasses.replace(files, source=str(path), config_source=str(config)))
    assert (caught.value.reason, caught.value.user_error) == ("BASE_MODEL_UNSUPPORTED", True)


@pytest.mark.parametrize("components", [("unet", "vae", "text_encoder"), ("unet",)])
def test_a_folder_of_half_precision_variants_loads(
    base_model: BaseModelFiles, tmp_path: Path, components: tuple[str, ...]
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base_model.source, folder)
    for component in components:
        (weights,) = (folder / component).glob("*.safetensors")
        save_file({name: one.half() for name, one in load_file(weights).items()}, weights, {"format": "pt"})
        weights.rename(weights.with_suffix(f".fp16{weights.suffix}"))
    found = answer(loaded(dataclasses.replace(base_model, source=str(folder))))
    torch.testing.assert_close(found, answer(loaded(base_model)), rtol=0, atol=2e-2)


def damaged(folder: Path, kind: str) -> None:
    """Break a model in a way that a library words."""
    if kind == "config":
        (folder / "unet" / "config.json").write_text("{")
    elif kind == "weights":
        next((folder / "vae").glob("*.safetensors")).write_bytes(b"no header")
    elif kind == "no weights":
        next((folder / "text_encoder").glob("*.safetensors")).unlink()
    elif kind == "tokenizer":
        for path in (folder / "tokenizer").iterdir():
            path.unlink()
    elif kind == "scheduler":
        next((folder / "scheduler").iterdir()).unlink()
    else:
        (path,) = (folder / "unet").glob("*.safetensors")
        save_file({name: one[:1] for name, one in load_file(path).items()}, path)


@pytest.mark.parametrize("kind", ["config", "weights", "no weights", "tokenizer", "scheduler", "shapes"])
def test_no_message_tells_where_a_model_lies_on_the_worker(
    base_model: BaseModelFiles, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base_model.source, folder)
    damaged(folder, kind)
    with pytest.raises(EngineError) as caught:
        loaded(dataclasses.replace(base_model, source=str(folder)))
    assert caught.value.reason.startswith("BASE_MODEL_")
    for part in (str(tmp_path), tmp_path.name, "site-packages", "Error("):
        assert part not in str(caught.value)


def test_a_damaged_single_checkpoint_is_named(base_model: BaseModelFiles, tmp_path: Path) -> None:
    path, config = write_single_file(Path(base_model.source), tmp_path / "single")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(EngineError) as caught:
        loaded(dataclasses.replace(base_model, source=str(path), config_source=str(config)))
    assert caught.value.reason == "BASE_MODEL_CORRUPT"
    path.unlink()
    with pytest.raises(EngineError) as caught:
        loaded(dataclasses.replace(base_model, source=str(path), config_source=str(config)))
    assert caught.value.reason == "BASE_MODEL_MISSING"


def test_a_hub_id_is_read_from_the_hubs_own_cache(
    base_model: BaseModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a download: the same folder, laid out by the hub's client, found without a network."""
    place = tmp_path / "models--owner--miniature"
    commit = "0" * 40
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    shutil.copytree(base_model.source, place / "snapshots" / commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for module in ("diffusers.pipelines.pipeline_utils", "diffusers.utils.constants", "diffusers.utils.hub_utils"):
        for name in ("HF_MODULES_CACHE", "HF_HUB_CACHE"):
            monkeypatch.setattr(f"{module}.{name}", str(tmp_path), raising=False)
    files = dataclasses.replace(base_model, source="hub:owner/miniature")
    torch.testing.assert_close(answer(loaded(files)), answer(loaded(base_model)))
    with pytest.raises(EngineError) as caught:
        loaded(dataclasses.replace(base_model, source="hub:owner/nothing"))
    assert caught.value.reason == "BASE_MODEL_CORRUPT"


@pytest.mark.parametrize("name", ["model.ckpt", "model.bin", "model.pt"])
def test_a_pickled_checkpoint_is_refused_unread(base_model: BaseModelFiles, tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineError, match="safetensors") as caught:
        loaded(dataclasses.replace(base_model, source=str(tmp_path / name)))
    assert caught.value.reason == "BASE_MODEL_UNSAFE"


def test_a_pickled_component_is_refused_unread(base_model: BaseModelFiles, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base_model.source, folder)
    (weights,) = (folder / "unet").glob("*.safetensors")
    torch.save(load_file(weights), folder / "unet" / "diffusion_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(EngineError, match=r"unet/diffusion_pytorch_model\.bin") as caught:
        loaded(dataclasses.replace(base_model, source=str(folder)))
    assert caught.value.reason == "BASE_MODEL_UNSAFE"


def test_code_of_a_model_repository_is_never_run(base_model: BaseModelFiles, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base_model.source, folder)
    sign = tmp_path / "it-ran"
    code = f"from pathlib import Path\nPath({str(sign)!r}).touch()\nclass Unet: ...\n"
    (folder / "unet" / "evil.py").write_text(code)
    (folder / "evil.py").write_text(code)
    (folder / "pipeline.py").write_text(code)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "unet": ["evil", "Unet"]}))
    with pytest.raises(EngineError) as caught:
        loaded(dataclasses.replace(base_model, source=str(folder)))
    assert caught.value.reason == "BASE_MODEL_CORRUPT"
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    (folder / "text_encoder" / "evil.py").write_text(code)
    (folder / "text_encoder" / "config.json").write_text(
        json.dumps({**config, "auto_map": {"AutoModel": "evil.Unet", "AutoConfig": "evil.Unet"}})
    )
    (folder / "model_index.json").write_text(json.dumps(index))
    torch.testing.assert_close(
        answer(loaded(dataclasses.replace(base_model, source=str(folder)))), answer(loaded(base_model))
    )
    assert not sign.exists()


def inpainting(folder: Path) -> BaseModelFiles:
    """The miniature with a UNet of nine input channels: latents, masked latents and a mask."""
    files = write_stable_diffusion(folder)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    config = {**unet.config, "in_channels": 9}
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")
    return files


def scheduler_of(folder: Path, **values: object) -> None:
    """Change a scheduler's configuration, and its class in the index where that is given."""
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    if "_class_name" in values:
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(
            json.dumps({**index, "scheduler": ["diffusers", values["_class_name"]]})
        )


def changed(component: str, **values: object) -> Callable[[Path, BaseModelFiles], None]:
    """Makes a configuration say something else than the weights were made for."""

    def change(folder: Path, _: BaseModelFiles) -> None:
        path = folder / component / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def test_an_inpainting_model_is_refused_as_what_it_is_however_it_comes(tmp_path: Path) -> None:
    files = inpainting(tmp_path / "base")
    path, config = write_single_file(tmp_path / "base", tmp_path / "single")
    ordinary = write_stable_diffusion(tmp_path / "ordinary")
    single = dataclasses.replace(files, source=str(path), config_source=str(config))
    for one in (files, single, dataclasses.replace(single, config_source=ordinary.source)):
        with pytest.raises(EngineError, match="is an inpainting model: its UNet takes 9 channels") as caught:
            loaded(one)
        assert (caught.value.reason, caught.value.user_error) == ("BASE_MODEL_UNSUPPORTED", True)
        assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize(
    ("write", "change", "words"),
    [
        (write_stable_diffusion, changed("unet", in_channels=8), "InstructPix2Pix"),
        (write_stable_diffusion, changed("unet", cross_attention_dim=24), "text of width 24"),
        (write_stable_diffusion, changed("vae", latent_channels=16), "takes 4 channels, and its latents have 16"),
        (write_sdxl, changed("unet", projection_class_embeddings_input_dim=TEXT_WIDTH + 5 * 4), "an SDXL refiner"),
        (write_flux, changed("transformer", in_channels=24), "takes 24 channels, and its latents have 16"),
        (write_flux, changed("transformer", in_channels=384), "a fill model"),
        (write_flux, changed("text_encoder_2", d_model=24), "its text encoders give 24"),
    ],
)
def test_a_model_that_the_family_does_not_know_is_refused_before_its_weights_are_read(
    tmp_path: Path,
    write: Callable[[Path], BaseModelFiles],
    change: Callable[[Path, BaseModelFiles], None],
    words: str,
) -> None:
    files = write(tmp_path / "base")
    change(tmp_path / "base", files)
    with pytest.raises(EngineError, match=words) as caught:
        loaded(files)
    assert (caught.value.reason, caught.value.user_error) == ("BASE_MODEL_UNSUPPORTED", True)


def test_an_architecture_or_a_family_that_it_is_not_is_refused(base_model: BaseModelFiles, tmp_path: Path) -> None:
    flux = write_flux(tmp_path / "flux")
    for files in (
        dataclasses.replace(base_model, architecture="stable-diffusion-v9"),
        dataclasses.replace(flux, family="sdxl", architecture="stable-diffusion-xl-v1-base"),
        dataclasses.replace(base_model, family="sdxl", architecture="stable-diffusion-xl-v1-base"),
    ):
        with pytest.raises(EngineError) as caught:
            loaded(files)
        assert caught.value.reason == "BASE_MODEL_UNSUPPORTED"


def test_an_old_scheduler_configuration_changes_nothing(tmp_path: Path) -> None:
    """Steps without an offset and clipped samples: the pipeline would warn and rewrite its own copy."""
    files = write_stable_diffusion(tmp_path / "base")
    path = tmp_path / "base" / "scheduler" / "scheduler_config.json"
    before = loaded(files)
    path.write_text(json.dumps({**json.loads(path.read_text()), "steps_offset": 0, "clip_sample": True}))
    after = loaded(files)
    position = torch.linspace(0, 0.999, 7)
    latents, noise = torch.randn(7, 4, 8, 8), torch.randn(7, 4, 8, 8)
    assert torch.equal(before.schedule.noisy(latents, noise, position), after.schedule.noisy(latents, noise, position))
    assert torch.equal(before.schedule.timesteps(position), after.schedule.timesteps(position))
    torch.testing.assert_close(answer(before), answer(after))
    sampled = after.pipeline().scheduler.config
    assert (sampled.steps_offset, sampled.timestep_spacing) == (1, "trailing")
