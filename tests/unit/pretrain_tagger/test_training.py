from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from services.tagger.adapters.onnx_model import OnnxModel
from tools.pretrain_tagger import export, train
from tools.pretrain_tagger.data import Examples
from tools.pretrain_tagger.facts import QUESTIONS, SIDE
from tools.pretrain_tagger.network import DrawnTagger, Exported
from tools.pretrain_tagger.restore import unfolded


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine cost a hundred times what these small batches take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_examples(count: int) -> Examples:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    answers = np.stack([rng.integers(0, len(answers), count) for answers in QUESTIONS.values()], 1)
    return Examples(pictures, answers, np.arange(count) % 3 > 0)


def test_a_few_pictures_can_be_learnt_by_heart() -> None:
    torch.manual_seed(0)
    network, examples, generator = DrawnTagger(), random_examples(12), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    losses = []
    for _ in range(25):
        loss = train._loss(network, examples, torch.arange(12), generator)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_a_mirrored_picture_has_left_and_right_exchanged() -> None:
    place = list(QUESTIONS).index("place")
    names = QUESTIONS["place"]
    answers = torch.zeros(200, len(QUESTIONS), dtype=torch.long)
    answers[:, place] = torch.arange(200) % len(names)
    pictures = torch.zeros(200, 3, 2, 2)
    pictures[..., 0] = 1.0
    mirrored, swapped = train._mirrored(pictures, answers, torch.Generator().manual_seed(0))
    other = {"": "", "centered": "centered", "on the left": "on the right", "on the right": "on the left"}
    flipped = mirrored[:, 0, 0, 0] == 0
    assert 60 < int(flipped.sum()) < 140
    for index in range(200):
        before, after = names[int(answers[index, place])], names[int(swapped[index, place])]
        assert after == (other[before] if flipped[index] else before)


def test_pictures_from_outside_teach_only_the_gate() -> None:
    network, examples = DrawnTagger(), random_examples(4)
    outside = Examples(examples.pictures, examples.answers, np.zeros(4, np.bool_))
    train._loss(network, outside, torch.arange(4), torch.Generator()).backward()  # type: ignore[no-untyped-call]
    assert network.gate.weight.grad is not None
    assert network.gate.weight.grad.abs().sum() > 0
    for parameter in network.answers.parameters():
        assert parameter.grad is not None
        assert float(parameter.grad.abs().sum()) == 0.0


def test_the_onnx_file_answers_as_the_network_does(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = DrawnTagger().eval()
    export._write_onnx(network, tmp_path / "model.onnx")
    pictures = torch.rand(5, 3, SIDE, SIDE)
    with torch.no_grad():
        expected = Exported(network)(pictures)
    found = OnnxModel(tmp_path / "model.onnx", threads=1).run(pictures.numpy())
    assert len(found) == len(QUESTIONS) + 1
    for mine, theirs in zip(expected, found, strict=True):
        np.testing.assert_allclose(theirs, mine.numpy(), atol=5e-3)
    assert (tmp_path / "model.onnx").stat().st_size < 2_000_000, "the weights are stored as halves"


def test_an_export_can_be_trained_further(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = DrawnTagger()
    pictures = torch.rand(40, 3, SIDE, SIDE)
    network(pictures * 0.5)  # Statistics of its own in every normalisation.
    network.eval()
    export._write_onnx(network, tmp_path / "model.onnx")
    restored = unfolded(tmp_path / "model.onnx", pictures)
    with torch.no_grad():
        expected, found = Exported(network)(pictures), Exported(restored)(pictures)
        learning = Exported(restored.train())(pictures)
    for mine, theirs, trained in zip(expected, found, learning, strict=True):
        np.testing.assert_allclose(theirs.numpy(), mine.numpy(), atol=5e-3)
        assert (trained - theirs).abs().mean() < 0.1, "its normalisations know the pictures"


@pytest.mark.parametrize(
    ("right_from", "expected"),
    [(0.0, 0.8), (0.855, 0.86), (1.1, 0.99)],
)
def test_thresholds_are_the_least_that_are_right_often_enough(right_from: float, expected: float) -> None:
    values = np.linspace(0.5, 0.985, 195, dtype=np.float32)
    scores = np.zeros((195, 3), np.float32)
    scores[:, 2] = values
    answers = np.where(values >= right_from, 2, 1)
    assert export.threshold_for(scores, answers) == pytest.approx(expected, abs=0.011)
