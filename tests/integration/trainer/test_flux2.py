"""What FLUX.2 has that no other family has: distilled models that take no guidance, a tokenizer inside a processor,
statistics of latents among the weights."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.trainer.engine.errors import EngineError
from services.trainer.engine.families import load_family
from services.trainer.engine.families.base import Family, SamplingRequest
from services.trainer.engine.job import BaseModelFiles
from tests.fixtures.flux2_miniatures import write_flux2_dev, write_flux2_klein
from tests.fixtures.single_file import write_flux2_alone

CPU = torch.device("cpu")


def loaded(files: BaseModelFiles) -> Family:
    return load_family(files, CPU, torch.float32)


def drawn(family: Family, guidance: float, negative: str = "") -> tuple[Tensor, int]:
    """Latents of two steps, and how often the denoiser was asked."""
    asked: list[None] = []
    handle = family.denoiser.register_forward_hook(lambda *_: asked.append(None))
    request = SamplingRequest(("a cat",), (7,), negative, 16, 16, 2, guidance)
    latents = family.sample(family.pipeline(), request, lambda _: None)
    handle.remove()
    return latents, len(asked)


def test_guidance_takes_a_second_prediction_that_a_distilled_model_does_without(tmp_path: Path) -> None:
    base, distilled = (
        loaded(write_flux2_klein(tmp_path / "base")),
        loaded(write_flux2_klein(tmp_path / "distilled", distilled=True)),
    )
    plain, once = drawn(base, 1.0)
    guided, twice = drawn(base, 4.0)
    assert (once, twice) == (2, 4)
    assert not torch.equal(plain, guided)
    assert not torch.equal(guided, drawn(base, 4.0, "a boat")[0])
    ignored, still_once = drawn(distilled, 4.0, "a boat")
    assert still_once == 2
    # Both have the same weights.
    torch.testing.assert_close(ignored, plain)


def test_guidance_is_an_input_of_dev(tmp_path: Path) -> None:
    family = loaded(write_flux2_dev(tmp_path))
    (low, once), (high, again) = drawn(family, 1.0), drawn(family, 4.0)
    assert once == again == 2
    assert not torch.equal(low, high)


def test_padding_stands_on_the_side_where_the_tokenizer_has_it(tmp_path: Path) -> None:
    """Every place has an answer, and those of the padding depend on the text too."""
    klein, dev = loaded(write_flux2_klein(tmp_path / "klein")), loaded(write_flux2_dev(tmp_path / "dev"))
    for family, side in ((klein, slice(-1, None)), (dev, slice(0, 1))):
        one, other = (family.encode_text([text])["encoder_hidden_states"] for text in ("a cat", "a dog"))
        assert one.shape == other.shape == (1, 64, 24)
        assert torch.isfinite(one).all()
        # Left of a text nothing of it is known yet.
        assert torch.equal(one[:, side], other[:, side]) == (family is dev)
        assert not torch.equal(one, other)


def test_one_kind_of_flux_2_is_not_taken_for_the_other(tmp_path: Path) -> None:
    klein, dev = write_flux2_klein(tmp_path / "klein"), write_flux2_dev(tmp_path / "dev")
    for files, source, words in (
        (klein, dev.source, "has Mistral3ForConditionalGeneration as text encoder"),
        (dev, klein.source, "has Qwen3ForCausalLM as text encoder"),
    ):
        with pytest.raises(EngineError, match=words) as caught:
            loaded(dataclasses.replace(files, source=source))
        assert caught.value.reason == "BASE_MODEL_UNSUPPORTED"


def test_the_tokenizer_of_dev_has_to_be_there(tmp_path: Path) -> None:
    files = write_flux2_dev(tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["tokenizer"][1] == "PixtralProcessor"
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{}")
    with pytest.raises(EngineError) as caught:
        loaded(files)
    assert caught.value.reason == "BASE_MODEL_CORRUPT"
    shutil.rmtree(tmp_path / "tokenizer")
    with pytest.raises(EngineError, match="has no tokenizer") as caught:
        loaded(files)
    assert caught.value.reason == "BASE_MODEL_INCOMPLETE"


@pytest.mark.parametrize("write", [write_flux2_klein, write_flux2_dev])
def test_the_transformer_under_its_own_names_is_the_one_of_its_folder(
    tmp_path: Path, write: Callable[[Path], BaseModelFiles]
) -> None:
    files = write(tmp_path / "whole")
    path = write_flux2_alone(tmp_path / "whole", tmp_path / "flux2.safetensors")
    alone = loaded(dataclasses.replace(files, source=str(path), config_source=files.source))
    ours, theirs = (family.denoiser.state_dict() for family in (alone, loaded(files)))
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_statistics_of_latents_have_to_be_there(tmp_path: Path) -> None:
    """The library goes on without them, with latents of another size than the transformer knows."""
    files = write_flux2_klein(tmp_path)
    (path,) = (tmp_path / "vae").glob("*.safetensors")
    save_file({name: one for name, one in load_file(path).items() if name != "bn.running_var"}, path)
    with pytest.raises(EngineError, match=r"autoencoder .* lacks weights, such as bn\.running_var") as caught:
        loaded(files)
    assert caught.value.reason == "BASE_MODEL_INCOMPLETE"
