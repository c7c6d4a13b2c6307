"""Fitch steps: reference values under every gap convention, brute force, rerooting, merges of forests."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from domains.phylogeny.parsimony import READINGS, Parsimony, constant_steps, state_sets
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.topologies import all_topologies
from domains.phylogeny.trees import canonical
from tests.domains.phylogeny.phylogeny_cases import (
    dataset,
    random_patterns,
    random_trees,
    reference,
    reference_trees,
    tree_of,
)
from workbench.errors import InputError

CONVENTIONS = {
    "missing": "fitch_gap_missing",
    "fifth-state": "fitch_gap5_qACGT",
    "fifth-state-any": "fitch_gap5_qAny",
}


def test_steps_of_phangorn_and_dnapars(reference_data, tmp_path):
    for name, patterns, tree, known in reference_trees(reference_data, tmp_path):
        for gaps, key in CONVENTIONS.items():
            steps = int(Parsimony(patterns, gaps).score(tree.children))
            assert steps == known[f"{key}_own"] == known[f"{key}_phangorn"], (name, gaps)


def test_all_topologies_of_small_sets(reference_data, tmp_path):
    for known in reference(reference_data)["small_exact"].values():
        patterns = dataset(reference_data, known["dataset"]).take(known["taxa"])
        trees = tree_of("\n".join(t["newick"] for t in known["topologies"]), patterns, tmp_path)
        for gaps in ("missing", "fifth-state"):
            steps = Parsimony(patterns, gaps).score(trees.children)
            assert steps.tolist() == [t[CONVENTIONS[gaps]] for t in known["topologies"]]


def least_changes(sets: np.ndarray, children: list[list[int]]) -> int:
    """The definition: over all states of inner nodes. sets [taxon] of one column."""
    n = len(sets)
    best = 10**9
    for inner in itertools.product(range(5), repeat=n - 1):
        changes = 0
        for k, pair in enumerate(children):
            for v in pair:
                same = (sets[v] >> inner[k]) & 1 if v < n else inner[v - n] == inner[k]
                changes += not same
        best = min(best, changes)
    return best


@pytest.mark.parametrize("gaps", READINGS)
def test_steps_are_the_minimum_over_inner_states(gaps, generator):
    patterns = random_patterns(5, 12, generator)
    sets = state_sets(patterns.states.numpy(), gaps)
    trees = random_trees(5, 3, generator)
    weights = patterns.weights.long().tolist()
    expected = [
        sum(w * least_changes(sets[:, c], tree.tolist()) for c, w in enumerate(weights))
        for tree in trees.children
    ]
    assert Parsimony(patterns, gaps).score(trees.children).tolist() == expected


@pytest.mark.parametrize("gaps", READINGS)
def test_columns_counted_once_cost_the_same_on_every_tree(gaps, generator):
    """All 105 topologies of six taxa, each column by itself; and leaving none out changes nothing."""
    # Half of the columns nearly constant, so that there are all kinds.
    random = random_patterns(6, 120, generator)
    states = random.states.clone()
    states[2:, :60] = states[2, :60]
    topologies = all_topologies(6)
    least, varies = constant_steps(state_sets(states.numpy(), gaps))
    one = torch.ones(1, dtype=torch.float64)
    for column in range(120):
        patterns = Patterns(random.names, states[:, column : column + 1], one, 1)
        steps = Parsimony(patterns, gaps).score(topologies)
        if not varies[column]:
            assert steps.tolist() == [least[column]] * 105
        assert bool((steps >= int(least[column])).all())
    assert 30 < varies.sum() < 90


def test_rooting_does_not_matter(generator):
    patterns, trees = random_patterns(20, 300, generator), random_trees(20, 8, generator)
    for gaps in READINGS:
        parsimony = Parsimony(patterns, gaps)
        moved = parsimony.score(canonical(trees).children)
        assert torch.equal(parsimony.score(trees.children), moved)


@pytest.mark.parametrize("gaps", READINGS)
def test_a_forest_merged_to_the_end_has_the_steps_of_its_tree(gaps, generator):
    patterns, trees = random_patterns(9, 700, generator), random_trees(9, 4, generator)
    parsimony = Parsimony(patterns, gaps)
    parts = [tip.expand(4, *tip.shape) for tip in parsimony.tip_sets()]
    rows, total = torch.arange(4), torch.full((4,), parsimony.constant)
    for k in range(8):
        stacked = torch.stack(parts)
        left, right = (stacked[trees.children[:, k, side], rows] for side in (0, 1))
        sets, steps = parsimony.merge(left, right)
        parts.append(sets)
        total += steps
    assert parsimony.n_evaluations == 4.0
    assert torch.equal(total, parsimony.score(trees.children))


def test_features_are_the_sets_of_the_varying_columns(generator):
    patterns = random_patterns(7, 90, generator)
    parsimony = Parsimony(patterns, "fifth-state")
    sets = state_sets(patterns.states.numpy(), "fifth-state")
    varying = torch.from_numpy(sets[:, constant_steps(sets)[1]])
    expected = (varying[:, None, :] >> torch.arange(5, dtype=torch.uint8)[:, None]) & 1
    assert torch.equal(parsimony.features(parsimony.tip_sets()), expected.float())


def test_an_alignment_without_differences_costs_nothing(generator):
    states = torch.full((5, 3), 4, dtype=torch.uint8)
    parsimony = Parsimony(Patterns(tuple("abcde"), states, torch.ones(3).double(), 3))
    assert parsimony.score(all_topologies(5)).tolist() == [0] * 15


def test_bad_input_is_named(generator):
    patterns = random_patterns(5, 6, generator)
    with pytest.raises(InputError, match='did you mean "fifth-state"'):
        Parsimony(patterns, "fifth")
    with pytest.raises(InputError, match="6 tips but the alignment has 5"):
        Parsimony(patterns).score(all_topologies(6))
    half = Patterns(patterns.names, patterns.states, patterns.weights / 2 + 0.25, 1)
    with pytest.raises(InputError, match="whole pattern weights"):
        Parsimony(half)
