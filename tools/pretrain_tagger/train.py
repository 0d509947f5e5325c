"""Trains the network on drawn blocks: resumable, on the CPU in tens of minutes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tools.pretrain_tagger.data import Examples, read_blocks
from tools.pretrain_tagger.facts import QUESTIONS
from tools.pretrain_tagger.network import DrawnTagger

WEIGHTS = "tagger.safetensors"
# The hard questions, which have the most answers, count more.
_WEIGHTS = {"object": 2.0, "colour": 1.5}


@dataclass(frozen=True)
class Run:
    """How to train. minutes: wall clock. validation_blocks: the first blocks are never learnt from."""

    folder: Path
    minutes: float
    batch: int = 128
    rate: float = 2e-3
    validation_blocks: int = 4
    seed: int = 0
    warm: bool = False
    threads: int = 1


def train(run: Run) -> dict[str, float]:
    """Trains and writes WEIGHTS to the folder; returns the accuracy on validation blocks per question."""
    torch.set_num_threads(run.threads)
    torch.manual_seed(run.seed)
    generator = torch.Generator().manual_seed(run.seed)
    network = DrawnTagger()
    if run.warm:
        network.load_state_dict(load_file(run.folder / WEIGHTS))
    optimizer = torch.optim.AdamW(network.parameters(), run.rate, weight_decay=0.02)
    validation = read_blocks(run.folder, count=run.validation_blocks)
    learnt = read_blocks(run.folder, skip=run.validation_blocks)
    started = last = time.monotonic()
    seen = 0
    while (passed := (time.monotonic() - started) / (60 * run.minutes)) < 1:
        # Warm up over 3% of the time, then fall to zero as a cosine.
        scale = min(1.0, passed / 0.03 + 0.01) * (0.5 + 0.5 * math.cos(math.pi * passed))
        for group in optimizer.param_groups:
            group["lr"] = run.rate * scale
        chosen = torch.randint(len(learnt), (run.batch,), generator=generator)
        loss = _loss(network, learnt, chosen, generator)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        seen += run.batch
        if time.monotonic() - last > 60:
            last = time.monotonic()
            save_file(network.state_dict(), run.folder / WEIGHTS)
            rate = seen / (last - started)
            print(f"{passed:5.0%}  {seen} pictures, {rate:.0f} a second, loss {loss.item():.3f}", flush=True)
            print("      ", _readable(accuracy(network, validation)), flush=True)
    save_file(network.state_dict(), run.folder / WEIGHTS)
    result = accuracy(network, validation)
    print("done ", seen, _readable(result), flush=True)
    return result


@torch.no_grad()
def accuracy(network: DrawnTagger, examples: Examples) -> dict[str, float]:
    """The share of right answers per question over drawn pictures, and of right decisions of the gate over all."""
    network.eval()
    pictures = torch.from_numpy(examples.pictures)
    outputs = [network(_to_float(part)) for part in torch.split(pictures, 250)]
    network.train()
    answers, inside = torch.from_numpy(examples.answers), torch.from_numpy(examples.inside)
    result: dict[str, float] = {}
    for column, question in enumerate(QUESTIONS):
        found = torch.cat([logits[question].argmax(1) for logits, _ in outputs])
        result[question] = float((found == answers[:, column])[inside].float().mean())
    gate = torch.cat([gate for _, gate in outputs]) > 0
    result["gate"] = float((gate == inside).float().mean())
    result["let_in"] = float(gate[~inside].float().mean())
    return result


def _loss(network: DrawnTagger, examples: Examples, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Cross entropies of all questions over drawn pictures; of pictures from outside only the gate's."""
    pictures = _to_float(torch.from_numpy(examples.pictures[chosen.numpy()]))
    answers = torch.from_numpy(examples.answers[chosen.numpy()])
    inside = torch.from_numpy(examples.inside[chosen.numpy()])
    pictures, answers = _mirrored(pictures, answers, generator)
    pictures = _disturbed(pictures, generator)
    logits, gate = network(pictures)
    loss = nn.functional.binary_cross_entropy_with_logits(gate, inside.float())
    for column, question in enumerate(QUESTIONS):
        each = nn.functional.cross_entropy(logits[question], answers[:, column], reduction="none", label_smoothing=0.02)
        loss = loss + _WEIGHTS.get(question, 1.0) * (each * inside).sum() / inside.sum().clamp(min=1)
    return loss


def _mirrored(pictures: Tensor, answers: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Half of the pictures mirrored, with left and right exchanged in their facts."""
    place = list(QUESTIONS).index("place")
    left, right = QUESTIONS["place"].index("on the left"), QUESTIONS["place"].index("on the right")
    mirror = torch.rand(len(pictures), generator=generator) < 0.5
    pictures = torch.where(mirror[:, None, None, None], pictures.flip(3), pictures)
    swapped = answers.clone()
    swapped[mirror & (answers[:, place] == left), place] = right
    swapped[mirror & (answers[:, place] == right), place] = left
    return pictures, swapped


def _disturbed(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """A shift of up to two pixels, and a little less or more light and contrast."""
    padded = nn.functional.pad(pictures, (2, 2, 2, 2), mode="replicate")
    dx, dy = torch.randint(0, 5, (2,), generator=generator).tolist()
    side = pictures.shape[-1]
    shifted = padded[..., dy : dy + side, dx : dx + side]
    gain = 1 + 0.1 * torch.randn(len(pictures), 1, 1, 1, generator=generator)
    lift = 0.03 * torch.randn(len(pictures), 1, 1, 1, generator=generator)
    return (shifted * gain + lift).clamp(0, 1)


def _to_float(pictures: Tensor) -> Tensor:
    return pictures.permute(0, 3, 1, 2).float() / 255


def _readable(result: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in result.items())
