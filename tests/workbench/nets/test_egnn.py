"""The particle network: equivariance to motions and relabelling, and a field that sums to zero."""

from __future__ import annotations

import pytest
import torch

from workbench.nets.egnn import EGNN


@pytest.fixture
def net() -> EGNN:
    torch.manual_seed(0)
    net = EGNN(5, 16, 2).double()
    for parameter in net.parameters():  # the output layers start at zero
        torch.nn.init.normal_(parameter, std=0.3)
    return net


def inputs(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, v = torch.randn((2, 3, 5, 3), generator=generator, dtype=torch.float64)
    return x, torch.rand(3, generator=generator, dtype=torch.float64), v


def test_turns_and_moves_with_its_input(net, generator):
    x, t, v = inputs(generator)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    turned = net(x @ rotation.T + 2.0, t, v @ rotation.T)
    assert torch.allclose(turned, net(x, t, v) @ rotation.T, atol=1e-10)


def test_follows_permutations(net, generator):
    x, t, v = inputs(generator)
    order = torch.randperm(5, generator=generator)
    assert torch.allclose(net(x[:, order], t, v[:, order]), net(x, t, v)[:, order], atol=1e-10)


def test_sums_to_zero_over_particles(net, generator):
    field = net(*inputs(generator))
    assert field.abs().max() > 1e-3
    assert torch.allclose(field.sum(1), torch.zeros(3, 3, dtype=torch.float64), atol=1e-10)


def test_starts_at_zero(generator):
    x, t, v = inputs(generator)
    assert torch.equal(EGNN(5, 16, 2).double()(x, t, v), torch.zeros_like(x))


def test_labels_break_the_symmetry(generator):
    torch.manual_seed(0)
    net = EGNN(5, 16, 2, torch.tensor([0, 0, 1, 1, 1])).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, t, v = inputs(generator)
    same, across = torch.tensor([1, 0, 2, 3, 4]), torch.tensor([2, 1, 0, 3, 4])
    assert torch.allclose(net(x[:, same], t, v[:, same]), net(x, t, v)[:, same], atol=1e-10)
    assert not torch.allclose(
        net(x[:, across], t, v[:, across]), net(x, t, v)[:, across], atol=1e-4
    )
