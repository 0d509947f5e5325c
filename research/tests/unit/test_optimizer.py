"""Muon: orthogonal steps, shared work, and a state that a resumed run goes on from."""

from __future__ import annotations

import pytest
import torch

from research.fiveshot_tiny.distributed import Group
from research.fiveshot_tiny.optimizer import MuonWithAdamW, is_matrix, orthogonalize


def _iterated_directly(matrix: torch.Tensor) -> torch.Tensor:
    """The textbook form of the same Newton-Schulz iteration, on the matrix itself."""
    x: torch.Tensor = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6), (2, 3)])
def test_orthogonalize_brings_all_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    result = orthogonalize(matrix)
    values = torch.linalg.svdvals(result)
    assert result.shape == matrix.shape
    assert values.max() < 1.25
    assert values.median() > 0.6
    assert torch.allclose(result, _iterated_directly(matrix), atol=2e-3)


def test_embeddings_biases_and_the_ends_of_the_unet_are_not_matrices() -> None:
    weight = torch.zeros(4, 4)
    assert is_matrix("unet.mid_block.attentions.0.to_q.weight", weight)
    assert is_matrix("unet.down_blocks.0.resnets.0.conv1.weight", torch.zeros(4, 4, 3, 3))
    for name in ("text_encoder.embeddings.token_embedding.weight", "unet.conv_in.weight", "unet.conv_out.weight"):
        assert not is_matrix(name, weight)
    assert not is_matrix("unet.norm.weight", torch.zeros(4))


def _network(seed: int) -> tuple[torch.nn.Module, dict[str, torch.nn.Parameter]]:
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.SiLU(), torch.nn.Linear(16, 2))
    return network, dict(network.named_parameters())


def _step(network: torch.nn.Module, optimizer: MuonWithAdamW, step: int, rate: float = 0.01) -> float:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(32, 6, generator=generator)
    loss = (network(x) - torch.stack([x.sum(1), x[:, 0].abs()], 1)).square().mean()
    network.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step(rate)
    return float(loss.detach())


def test_training_lowers_the_loss() -> None:
    network, parameters = _network(0)
    optimizer = MuonWithAdamW(parameters, weight_decay=0.0, group=Group())
    losses = [_step(network, optimizer, i, rate=0.03) for i in range(150)]
    assert sum(losses[-10:]) < 0.4 * sum(losses[:10])


def test_resumed_state_goes_on_bitwise_equal() -> None:
    network, parameters = _network(0)
    optimizer = MuonWithAdamW(parameters, weight_decay=0.01, group=Group())
    for i in range(5):
        _step(network, optimizer, i)
    state = {name: value.clone() for name, value in optimizer.state().items()}
    resumed, resumed_parameters = _network(9)
    resumed.load_state_dict(network.state_dict())
    resumed_optimizer = MuonWithAdamW(resumed_parameters, weight_decay=0.01, group=Group())
    resumed_optimizer.load_state(state)
    for i in range(5, 10):
        _step(network, optimizer, i)
        _step(resumed, resumed_optimizer, i)
    for name, value in network.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_state_without_a_matrix_is_refused() -> None:
    _, parameters = _network(0)
    optimizer = MuonWithAdamW(parameters, weight_decay=0.0, group=Group())
    with pytest.raises(KeyError, match=r"muon\.0\.weight"):
        optimizer.load_state({})


def test_missing_gradient_is_an_error() -> None:
    _, parameters = _network(0)
    optimizer = MuonWithAdamW(parameters, weight_decay=0.0, group=Group())
    with pytest.raises(RuntimeError, match="no gradient"):
        optimizer.step(0.1)
