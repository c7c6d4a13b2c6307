"""The graph network: sums over neighbours, their gradient, batches and permutations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.nets.gin import GIN, Adjacency, neighbour_sums


def random_adjacency(n: int, weighted: bool, seed: int = 0) -> tuple[Adjacency, torch.Tensor]:
    """A symmetric matrix in compressed rows, and dense."""
    random = np.random.default_rng(seed)
    upper = np.triu(random.random((n, n)) < 0.4, 1)
    weights = np.triu(random.normal(size=(n, n)), 1) if weighted else np.ones((n, n))
    dense = upper * weights
    dense = dense + dense.T
    rows, columns = np.nonzero(upper | upper.T)
    pointer = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    weight = torch.from_numpy(dense[rows, columns]) if weighted else None
    adjacency = Adjacency(
        torch.from_numpy(pointer), torch.from_numpy(columns.astype(np.int32)), weight
    )
    return adjacency, torch.from_numpy(dense)


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_are_the_matrix_product_and_so_is_the_gradient(weighted):
    adjacency, dense = random_adjacency(9, weighted)
    x = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(neighbour_sums(x, adjacency), dense @ x)
    torch.testing.assert_close(adjacency.scattered_sums(x), dense @ x)
    assert torch.autograd.gradcheck(lambda y: neighbour_sums(y, adjacency), (x,))


def made(width: int = 16) -> GIN:
    torch.manual_seed(0)
    network = GIN(3, width, 2, 4)
    torch.nn.init.normal_(network.last.weight)
    return network


def test_it_starts_at_zero():
    adjacency, _ = random_adjacency(6, False)
    out = GIN(3, 8, 2, 4)(torch.randn(6, 3), adjacency, torch.ones(6))
    assert torch.equal(out, torch.zeros(6, 4))


def test_a_batch_is_its_graphs_one_by_one():
    network = made()
    (one, _), (two, _) = random_adjacency(6, False, 1), random_adjacency(8, False, 2)
    both = Adjacency(
        torch.cat([one.pointer, two.pointer[1:] + one.pointer[-1]]),
        torch.cat([one.neighbour, two.neighbour + 6]),
    )
    x, scale = torch.randn(14, 3), torch.rand(14)
    together = network(x, both, scale)
    torch.testing.assert_close(together[:6], network(x[:6], one, scale[:6]))
    torch.testing.assert_close(together[6:], network(x[6:], two, scale[6:]))


def test_renumbering_vertices_renumbers_the_output():
    network = made()
    adjacency, dense = random_adjacency(7, False, 3)
    order = torch.randperm(7)
    moved = dense[order][:, order]
    rows, columns = moved.nonzero().unbind(1)
    pointer = torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(rows, minlength=7)])
    renumbered = Adjacency(pointer.cumsum(0), columns.to(torch.int32))
    x, scale = torch.randn(7, 3), torch.ones(7)
    expected = network(x, adjacency, scale)[order]
    torch.testing.assert_close(network(x[order], renumbered, scale), expected)


def test_one_layer_is_the_isomorphism_network_of_torch_geometric():
    """The sum inside our layer against torch-geometric's convolution with the same perceptron."""
    geometric = pytest.importorskip("torch_geometric.nn")
    adjacency, dense = random_adjacency(8, False, 4)
    layer = made().layers[0]
    theirs = geometric.GINConv(layer.mlp, eps=float(layer.epsilon.detach()))
    h = torch.randn(8, 16)
    expected = h + theirs(h, dense.nonzero().T)
    torch.testing.assert_close(layer(h, adjacency, torch.ones(8)), expected)
