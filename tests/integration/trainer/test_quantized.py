"""A base in 8 and 4 bits, by bitsandbytes where it is installed (it has kernels for the CPU), and 8-bit AdamW."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from services.trainer.engine.errors import EngineError
from services.trainer.engine.families import load_family
from services.trainer.engine.job import BaseModelFiles, Command, EpochResult, Hooks, TrainJobSpec
from services.trainer.engine.quantization import quantized_layers
from services.trainer.engine.train_loop import train
from tests.fixtures.miniatures import write_flux, write_sdxl, write_stable_diffusion

MakeSpec = Callable[..., TrainJobSpec]
CPU = torch.device("cpu")


def test_without_bitsandbytes_the_reason_says_what_to_do(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    # None in the table of modules is how an absent one looks to an import.
    for name in ("bitsandbytes", "bitsandbytes.nn", "bitsandbytes.optim"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineError, match=r"fiveshot\[quantized\]") as caught:
        train(make_spec(base_quantization="nf4"))
    assert caught.value.reason == "QUANTIZATION_UNAVAILABLE"
    with pytest.raises(EngineError, match="bitsandbytes") as caught:
        train(make_spec(optimizer="adamw8bit"))
    assert caught.value.reason == "OPTIMIZER_UNAVAILABLE"


@pytest.fixture
def bitsandbytes() -> Any:
    return pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: pip install 'fiveshot[quantized]'")


@pytest.mark.parametrize("write", [write_stable_diffusion, write_sdxl, write_flux])
@pytest.mark.parametrize(("quantization", "close"), [("int8", 0.05), ("nf4", 0.3)])
def test_a_quantised_base_answers_nearly_as_the_whole_one(
    bitsandbytes: Any, tmp_path: Path, write: Callable[[Path], BaseModelFiles], quantization: str, close: float
) -> None:
    files = write(tmp_path / "base")
    whole, small = (load_family(files, CPU, torch.float32, how) for how in ("none", quantization))
    denoiser = small.denoiser
    layers = quantized_layers(denoiser)
    assert len(layers) >= 10
    assert all("blocks." in name or "mid_block." in name for name in layers)
    assert not quantized_layers(whole.denoiser)
    torch.manual_seed(1)
    noisy, timesteps = torch.randn(1, 4, 8, 8), torch.tensor([0.5 if write is write_flux else 500])
    with torch.no_grad():
        answers = [one.predict(noisy, timesteps, one.encode_text(["a ball"])) for one in (whole, small)]
    difference = (answers[0] - answers[1]).norm() / answers[0].norm()
    assert 0.0 < float(difference) < close


@pytest.mark.parametrize(
    ("write", "changes"),
    [
        (write_stable_diffusion, {"base_quantization": "nf4", "train_text_encoder": True}),
        (write_stable_diffusion, {"base_quantization": "int8", "mixed_precision": "bf16"}),
        (write_sdxl, {"base_quantization": "nf4", "adapter": "dora"}),
        (write_flux, {"base_quantization": "nf4", "gradient_checkpointing": True}),
    ],
    ids=["nf4", "int8-bf16", "nf4-dora-sdxl", "nf4-flux"],
)
def test_a_lora_of_a_quantised_base_learns_and_its_files_load(
    bitsandbytes: Any,
    make_spec: MakeSpec,
    tmp_path: Path,
    write: Callable[[Path], BaseModelFiles],
    changes: dict[str, Any],
) -> None:
    epochs: list[EpochResult] = []
    spec = make_spec(job={"base_model": write(tmp_path / "base")}, num_epochs=1, num_repeats=4, **changes)
    train(spec, Hooks(on_epoch=epochs.append))
    (result,) = epochs
    assert result.evaluation.fit_loss < result.evaluation.base_fit_loss
    assert result.max_reload_difference < (5e-2 if "mixed_precision" in changes else 1e-3)


def test_8_bit_adamw_resumes_to_the_same_bytes(bitsandbytes: Any, make_spec: MakeSpec) -> None:
    # Below 4,096 numbers a weight's state stays in float32: a rank of 192 makes some larger.
    changes = {"optimizer": "adamw8bit", "num_epochs": 1, "num_repeats": 4, "rank": 192, "learning_rate": 1e-3}
    whole: list[EpochResult] = []
    train(make_spec("whole", **changes), Hooks(on_epoch=whole.append))
    assert whole[0].evaluation.fit_loss < whole[0].evaluation.base_fit_loss
    polls = iter([Command.CONTINUE, Command.PAUSE])
    paused = train(make_spec("first", **changes), Hooks(control=lambda: next(polls)))
    resumed: list[EpochResult] = []
    second = make_spec("second", job={"resume_from": paused.checkpoint_dir}, **changes)
    train(second, Hooks(on_epoch=resumed.append))
    assert [one.sha256 for one in resumed[0].artifacts] == [one.sha256 for one in whole[0].artifacts]
