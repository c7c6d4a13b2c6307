"""Every synthetic environment: its moves, its log Z by brute force, its modes, its Metropolis move."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from domains.synthetic import (
    ENVIRONMENT_NAMES,
    BitSequences,
    Hypergrid,
    SyntheticEnvironment,
    TreeBuilding,
    environment,
)
from workbench.errors import InputError
from workbench.gflownet.checks import check_environment, check_on_rollouts
from workbench.gflownet.states import select
from workbench.problem import EnumerableEnvironment, PartialReward

SMALL = [
    Hypergrid(3, 5),
    Hypergrid(1, 2),
    Hypergrid(2, 8, r0=1e-3),
    BitSequences(8, 2, 3, mode_distance=1),
    BitSequences(4, 4, 5),
    TreeBuilding(3),
    TreeBuilding(6),
]


@pytest.fixture(params=SMALL, ids=lambda e: e.name)
def small(request) -> SyntheticEnvironment:
    return request.param


def objects(some: SyntheticEnvironment):
    states = some.all_states()
    return select(states, some.is_terminal(states).nonzero().squeeze(1))


@pytest.mark.parametrize("name", ENVIRONMENT_NAMES)
def test_follows_the_protocols(name):
    found = environment(name)
    assert isinstance(found, SyntheticEnvironment) and isinstance(found, EnumerableEnvironment)
    assert isinstance(found, PartialReward) == (name != "bit-sequences")


def test_moves_masks_and_numbers(small):
    check_environment(small)


@pytest.mark.parametrize("large", [Hypergrid(8, 16), BitSequences(40, 4, 10)], ids=lambda e: e.name)
def test_moves_of_a_space_too_large_to_list(large, generator):
    check_on_rollouts(large, 8, generator)


def test_log_partition_is_the_sum_over_objects(small):
    total = torch.logsumexp(small.log_reward(objects(small)), 0)
    assert abs(float(total) - small.log_partition) < 1e-12


def test_every_mode_has_an_object(small):
    modes = small.mode(objects(small))
    assert set(modes[modes >= 0].tolist()) == set(range(small.n_modes))
    assert int(modes.min()) >= -1


def test_modes_have_the_largest_reward(small):
    every = objects(small)
    reward, inside = small.log_reward(every), small.mode(every) >= 0
    if isinstance(small, BitSequences) or bool(inside.all()):
        return  # modes are balls around known centres
    assert reward[inside].min() >= reward[~inside].max()


def test_uniform_objects_are_uniform(small, generator):
    n = 20_000
    drawn = small.uniform_objects(n, generator)
    assert bool(small.is_terminal(drawn).all())
    every = objects(small)
    expected, spread = small.log_reward(every).mean(), small.log_reward(every).std(correction=0)
    found = small.log_reward(drawn).mean()
    assert abs(float(found - expected)) <= 5 * float(spread) / math.sqrt(n) + 1e-12


def test_the_metropolis_move_is_symmetric_and_reaches_everything(small, generator):
    every = objects(small)
    first = int(small.index(every)[0])
    n = small.n_states - first
    if n > 130:
        pytest.skip("large matrix")
    repeats = 4000
    start = torch.arange(n).repeat_interleave(repeats)
    state = select(small.all_states(), first + start)
    end = small.index(small.propose(state, generator)) - first
    assert bool(small.is_terminal(small.propose(state, generator)).all())
    counts = torch.zeros(n, n, dtype=torch.float64)
    counts.index_put_((start, end), torch.ones(n * repeats, dtype=torch.float64), accumulate=True)
    difference, total = counts - counts.T, counts + counts.T
    assert float((difference.abs() / total.clamp_min(25).sqrt()).max()) < 5
    moves = ((total > 0) | torch.eye(n).bool()).double()
    assert bool((torch.linalg.matrix_power(moves, n) > 0).all())


def test_nni_reaches_all_trees_of_four_leaves(generator):
    trees = TreeBuilding(4)
    state = select(objects(trees), torch.zeros(500, dtype=torch.int64))
    seen = set()
    for _ in range(12):
        state = trees.propose(state, generator)
        seen |= set(trees.index(state).tolist())
    assert len(seen) == 15


@pytest.mark.parametrize("height", [2, 3, 4, 7, 8, 11, 16, 20])
def test_hypergrid_reward_by_fractions(height):
    """The inequalities of the definition in exact rational arithmetic."""
    from fractions import Fraction

    grid = Hypergrid(2, height)
    points = list(itertools.product(range(height), repeat=2))
    expected = []
    for point in points:
        distance = [abs(Fraction(x, height - 1) - Fraction(1, 2)) for x in point]
        reward = 0.1
        reward += 0.5 * all(d > Fraction(1, 4) for d in distance)
        reward += 2.0 * all(Fraction(3, 10) < d < Fraction(4, 10) for d in distance)
        expected.append(math.log(reward))
    every = objects(grid)
    assert every.coordinates.tolist() == [list(point) for point in points]
    assert torch.allclose(grid.log_reward(every), torch.tensor(expected, dtype=torch.float64))


def test_the_usual_hypergrid():
    """4 x 8 with R0 = 0.1: Z = 4096 * 0.1 + 4^4 * 0.5 + 2^4 * 2."""
    assert Hypergrid().log_partition == pytest.approx(math.log(569.6), abs=1e-12)
    modes = Hypergrid().mode(objects(Hypergrid()))
    assert int((modes >= 0).sum()) == 16


@pytest.mark.parametrize(
    ("leaves", "n_trees", "n_forests"), [(3, 3, 7), (4, 15, 37), (6, 945, 2431)]
)
def test_numbers_of_trees_and_forests(leaves, n_trees, n_forests):
    """(2n-3)!! trees; forests have the exponential generating function exp(1 - sqrt(1 - 2x))."""
    trees = TreeBuilding(leaves)
    assert (len(objects(trees).clades), trees.n_states) == (n_trees, n_forests)


def test_bit_distances_by_hand():
    bits = BitSequences(8, 2, 3, exponent=2.0, mode_distance=1)
    modes = bits.modes.tolist()
    every = objects(bits)
    rows = bits.bits(every).tolist()
    nearest = [min(sum(a != b for a, b in zip(row, m, strict=True)) for m in modes) for row in rows]
    expected = torch.tensor([2.0 * (1 - d / 8) for d in nearest], dtype=torch.float64)
    assert torch.allclose(bits.log_reward(every), expected)
    assert ((bits.mode(every) >= 0) == (torch.tensor(nearest) <= 1)).all()


def test_the_published_bit_sequences_can_be_made(generator):
    bits = BitSequences(120, 8, 60, exponent=3.0, mode_distance=28)
    assert bits.log_partition is None and bits.n_actions == 15 * 256
    assert bool(bits.log_reward(bits.uniform_objects(5, generator)).isfinite().all())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("hypergird", {}, 'did you mean "hypergrid"'),
        ("hypergrid", {"height": 1}, "height 1"),
        ("hypergrid", {"r0": 0.0}, "R0 must be positive"),
        ("bit-sequences", {"word_bits": 5}, "words of 5"),
        ("bit-sequences", {"n_modes": 1000}, "1000 modes"),
        ("tree-building", {"leaves": 9}, "9 leaves"),
    ],
)
def test_bad_input(name, options, words):
    with pytest.raises(InputError, match=words):
        environment(name, **options)
