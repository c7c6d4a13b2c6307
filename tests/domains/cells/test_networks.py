"""Edge scores, baselines and the structured network, against cases that are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from domains.cells.gene_baselines import spearman_edges, tree_edges
from domains.cells.gene_scores import edge_score, edges_of, read_edges
from domains.cells.structured import StructuredVelocity
from workbench.errors import InputError


def test_a_perfect_and_a_reversed_ranking():
    truth = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 1]])
    scores = truth + 0.1 * np.arange(9).reshape(3, 3)
    best = edge_score(scores, truth)
    assert (best.auroc, best.average_precision) == (1.0, 1.0)
    assert best.base == pytest.approx(1 / 3)
    assert edge_score(np.where(truth, 0.0, 1.0), truth).auroc == 0.0
    # the diagonal takes no part
    assert edge_score(scores + 100 * np.eye(3), truth).auroc == 1.0
    with pytest.raises(InputError, match="no edge"):
        edge_score(scores, np.eye(3))


def test_edges_are_read_by_either_pair_of_names(tmp_path, reference_data):
    table = pd.DataFrame({"Gene2": ["b", "z"], "Gene1": ["a", "a"], "Type": ["+", "+"]})
    truth = edges_of(table, ["a", "b"], "table")
    assert truth.tolist() == [[0, 1], [0, 0]]
    with pytest.raises(InputError, match="name them source and target"):
        edges_of(table.rename(columns={"Gene1": "x"}), ["a", "b"], "table")
    genes = [f"g{i}" for i in (1, 2, 3, 4, 6, 7, 8)]
    found = read_edges(reference_data("cells/grn/dyn-BF/refNetwork.csv"), genes)
    assert found[genes.index("g1"), genes.index("g2")] == 1  # g1 activates g2
    assert found[genes.index("g2"), genes.index("g1")] == 0
    assert found.sum() == 12


def test_rank_correlations_are_those_of_scipy():
    values = np.random.default_rng(0).integers(0, 6, (80, 4)).astype(float)
    values[:, 3] += values[:, 0]
    expected = np.abs(spearmanr(values).statistic)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(spearman_edges(values), expected, atol=1e-12)


def test_trees_find_the_gene_that_another_follows():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 4))
    values[:, 2] = np.sin(2 * values[:, 0]) + 0.1 * rng.normal(size=300)
    edges = tree_edges(values, seed=0)
    assert edges[:, 2].argmax() == 0 and edges[0, 2] > 0.7
    np.testing.assert_allclose(edges.sum(0), 1.0)
    assert (np.diag(edges) == 0).all()


def test_a_gene_sees_only_what_its_own_columns_let_in(generator):
    torch.manual_seed(0)
    net = StructuredVelocity(4, 8, shrinkage=0.1)
    torch.nn.init.normal_(net.last)
    with torch.no_grad():
        net.theta[2, :, 1] = 0.0  # gene 1 is not allowed to act on gene 2
    x = torch.randn(5, 4, generator=generator)
    moved = x.clone()
    moved[:, 1] += 1.0
    t = torch.zeros(5)
    change = (net(moved, t) - net(x, t)).abs().amax(0)
    assert float(change[2]) == 0.0 and float(change[0]) > 1e-3
    assert float(net.edges()[1, 2]) == 0.0 and float(net.edges()[2, 1]) > 0


def test_the_proximal_step_shrinks_norms_by_one_amount_and_cuts_at_zero():
    torch.manual_seed(0)
    net = StructuredVelocity(3, 4, shrinkage=2.0)
    before = net.edges()
    net.proximal(0.05)
    wanted = (before - 0.1).clamp(min=0)
    wanted.diagonal().copy_(before.diagonal())
    assert torch.allclose(net.edges(), wanted, atol=1e-6)
    net.proximal(100.0)
    off = ~torch.eye(3, dtype=torch.bool)
    assert float(net.edges()[off].max()) == 0.0
