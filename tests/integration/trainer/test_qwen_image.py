"""What Qwen-Image has that no other family has: a question before each caption, levels that end above nothing."""

from __future__ import annotations

import pytest
import torch

from services.trainer.engine.families import load_family
from services.trainer.engine.families.base import Family, SamplingRequest
from services.trainer.engine.families.qwen_image import BEFORE_CAPTION
from tests.fixtures.qwen_miniatures import write_qwen_image


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return load_family(write_qwen_image(tmp_path_factory.mktemp("qwen")), torch.device("cpu"), torch.float32)


def drawn(family: Family, steps: int, guidance: float, negative: str = "") -> torch.Tensor:
    request = SamplingRequest(("a cat", "a dog on a boat"), (7, 8), negative, 16, 16, steps, guidance)
    return family.sample(family.pipeline(), request, lambda _: None)


def test_one_step_gives_a_picture_too(family: Family) -> None:
    """The library's solver divides by nothing there."""
    assert family.pipeline().scheduler.config.shift_terminal == 0.02
    assert torch.isfinite(drawn(family, 1, 1.0)).all()


def test_guidance_goes_by_a_negative_prompt_and_pictures_do_not_depend_on_each_other(family: Family) -> None:
    plain, guided = drawn(family, 2, 1.0), drawn(family, 2, 4.0)
    assert not torch.equal(plain, guided)
    assert not torch.equal(guided, drawn(family, 2, 4.0, "a boat"))
    request = SamplingRequest(("a cat",), (7,), "", 16, 16, 2, 4.0)
    alone = family.sample(family.pipeline(), request, lambda _: None)
    torch.testing.assert_close(alone, guided[:1], rtol=1e-4, atol=1e-4)


def test_what_stands_before_a_caption_is_left_out(family: Family) -> None:
    tokenizer = family.pipeline().tokenizer
    before = family.facts.text_encoders[0].wrap.partition("{}")[0]
    assert len(tokenizer(before).input_ids) == BEFORE_CAPTION
    whole = len(tokenizer(family.facts.text_encoders[0].wrap.replace("{}", "a cat")).input_ids)
    (length,) = family.encode_text(["a cat"])["lengths"].tolist()
    assert length == whole - BEFORE_CAPTION
