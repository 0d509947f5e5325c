"""The network: a few strided convolutions, one answer per question, and a gate that asks whether it may answer."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from tools.pretrain_tagger.facts import QUESTIONS

_WIDTHS = (32, 64, 96, 160)


class DrawnTagger(nn.Module):
    """Pictures, float (n, 3, 64, 64) from 0 to 1, to logits: per question (n, answers), and the gate's (n,).

    The pooled features keep a coarse grid of places (2 x 2 means beside the overall mean and maximum), because where a
    thing stands is one of the questions. About 0.6 million weights.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_block(3, _WIDTHS[0], kernel=5, stride=2)]
        for before, after in itertools.pairwise(_WIDTHS):
            layers += [*_block(before, after, stride=2), *_block(after, after)]
        self.features = nn.Sequential(*layers)
        width = _WIDTHS[-1] * 6
        self.shared = nn.Sequential(nn.Dropout(0.2), nn.Linear(width, 256), nn.ReLU())
        self.answers = nn.ModuleDict({question: nn.Linear(256, len(a)) for question, a in QUESTIONS.items()})
        self.gate = nn.Linear(256, 1)

    def forward(self, pictures: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """See the class."""
        maps = self.features(pictures * 2 - 1)
        corners = nn.functional.adaptive_avg_pool2d(maps, 2).flatten(1)
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3)), corners], 1)
        shared = self.shared(pooled)
        return {question: head(shared) for question, head in self.answers.items()}, self.gate(shared)[:, 0]


class Exported(nn.Module):
    """What ONNX holds: probabilities instead of logits, the questions in their order and the gate last."""

    def __init__(self, network: DrawnTagger) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Probabilities per question (n, answers), then the gate's (n, 1)."""
        answers, gate = self.network(pictures)
        return (*(logits.softmax(1) for logits in answers.values()), gate.sigmoid()[:, None])


def _block(before: int, after: int, *, kernel: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU()
