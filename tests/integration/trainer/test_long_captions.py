"""A caption longer than one window of a CLIP text encoder reaches the model in chunks, as its usual tools do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from services.trainer.engine.families import load_family
from services.trainer.engine.families.base import Family, SamplingRequest
from services.trainer.engine.job import BaseModelFiles, TrainJobSpec
from services.trainer.engine.train_loop import train
from tests.fixtures.miniatures import write_flux, write_sdxl, write_stable_diffusion
from tests.fixtures.training_jobs import losses_of

CPU = torch.device("cpu")
WINDOW = 77
WRITERS: dict[str, Callable[..., BaseModelFiles]] = {"stable-diffusion": write_stable_diffusion, "sdxl": write_sdxl}
# The miniatures' tokenizer knows letters only: 75 of them fill a chunk.
FIRST, SECOND, OTHER = "a " * 75, "b " * 40, "z " * 40


@pytest.fixture(scope="module", params=WRITERS)
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BaseModelFiles:
    return WRITERS[request.param](tmp_path_factory.mktemp("windowed") / request.param, tokens=WINDOW)


@pytest.fixture
def family(files: BaseModelFiles) -> Family:
    return load_family(files, CPU, torch.float32)


def test_chunks_are_encoded_each_by_itself_and_put_in_a_row(family: Family) -> None:
    alone = [family.encode_text([text]) for text in (FIRST, SECOND, "")]
    family.use_long_texts(["short", FIRST + SECOND + "c " * 100])
    long = family.encode_text([FIRST + SECOND])
    hidden = torch.cat([one["encoder_hidden_states"] for one in alone], dim=1)
    assert long["encoder_hidden_states"].shape[1] == 3 * WINDOW
    torch.testing.assert_close(long["encoder_hidden_states"], hidden)
    if "text_embeds" in long:
        torch.testing.assert_close(long["text_embeds"], alone[0]["text_embeds"])


def test_three_chunks_are_the_most(family: Family) -> None:
    family.use_long_texts(["d " * 1000])
    kept, cut = family.encode_text(["d " * 225]), family.encode_text(["d " * 1000])
    assert torch.equal(kept["encoder_hidden_states"], cut["encoder_hidden_states"])


def test_short_captions_are_encoded_as_ever(family: Family) -> None:
    before = family.token_ids([FIRST, "cat"])
    family.use_long_texts([FIRST, "cat"])
    assert all(torch.equal(ids, before[name]) for name, ids in family.token_ids([FIRST, "cat"]).items())


def test_previews_obey_the_end_of_a_long_prompt(family: Family) -> None:
    def sampled(prompt: str) -> torch.Tensor:
        request = SamplingRequest((prompt, "cat"), (1, 2), "", 16, 16, 2, 3.0)
        return family.sample(family.pipeline(), request, lambda _: None)

    one, other = sampled(FIRST + SECOND), sampled(FIRST + OTHER)
    assert not torch.allclose(one[0], other[0], rtol=1e-3)
    torch.testing.assert_close(one[1], other[1])
    assert family.token_ids(["cat"])["text_encoder"].shape == (1, WINDOW), "trained captions stay in their chunks"


@pytest.mark.parametrize("trained", [False, True])
def test_training_sees_the_end_of_a_long_caption(
    make_spec: Callable[..., TrainJobSpec], files: BaseModelFiles, trained: bool
) -> None:
    def losses(ending: str) -> list[float]:
        given = make_spec(job={"base_model": files}, num_epochs=1, caption_dropout=0.0, train_text_encoder=trained)
        items = tuple(replace(item, caption=FIRST + ending) for item in given.items)
        return losses_of(replace(given, items=items))

    assert losses(SECOND) != losses(OTHER)


def test_a_run_with_long_captions_leaves_checked_files(
    make_spec: Callable[..., TrainJobSpec], files: BaseModelFiles
) -> None:
    given = make_spec(job={"base_model": files}, num_epochs=1, train_text_encoder=True)
    items = tuple(replace(item, caption=f"{item.caption} {FIRST}") for item in given.items)
    assert train(replace(given, items=items)).recommendation is not None


def test_flux_takes_what_its_t5_takes(tmp_path: Path) -> None:
    family = load_family(write_flux(tmp_path / "flux"), CPU, torch.float32)
    before = family.encode_text(["a cat " * 100])["encoder_hidden_states"]
    family.use_long_texts(["a cat " * 100])
    assert torch.equal(family.encode_text(["a cat " * 100])["encoder_hidden_states"], before)
