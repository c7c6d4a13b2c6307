"""Best branch lengths and model parameters: closed forms, stationarity, and IQ-TREE where installed."""

from __future__ import annotations

import json
import math
import shutil
import subprocess

import pytest
import torch

from domains.phylogeny.alignment import Alignment, read_alignment
from domains.phylogeny.batched_lbfgs import Options, minimise
from domains.phylogeny.characters import encode
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.model_strings import parse_model
from domains.phylogeny.optimise import LONGEST, optimise_all, optimise_lengths
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.topologies import random_topologies
from domains.phylogeny.tree_files import read_trees, write_newick
from domains.phylogeny.trees import Trees, canonical, rerooted, unrooted_lengths
from tests.domains.phylogeny.test_alignment import EMBEDDED

JC = parse_model("JC").build()


def mammals() -> Patterns:
    return Patterns.from_alignment(read_alignment(EMBEDDED))


def random_trees(n_taxa: int, n_trees: int, seed: int) -> Trees:
    generator = torch.Generator().manual_seed(seed)
    children = random_topologies(n_taxa, n_trees, generator)
    lengths = torch.rand(n_trees, 2 * n_taxa - 2, generator=generator, dtype=torch.float64)
    return Trees(children, 0.2 * lengths)


def test_quadratics_and_rosenbrock_side_by_side():
    """(1-x)^2 + k (y - x^2)^2 is least at (1, 1), for every k; the last problem starts there."""
    k = torch.tensor([0.1, 1.0, 10.0, 100.0], dtype=torch.float64)

    def function(x, index):
        a, b = 1 - x[:, 0], x[:, 1] - x[:, 0] ** 2
        slope = torch.stack([-2 * a - 4 * k[index] * b * x[:, 0], 2 * k[index] * b], 1)
        return a**2 + k[index] * b**2, slope

    start = torch.tensor([[-1.2, 1.0], [3.0, -2.0], [-1.2, 1.0], [1.0, 1.0]], dtype=torch.float64)
    found = minimise(function, start, Options(tolerance=1e-14))
    assert bool(found.converged.all())
    torch.testing.assert_close(found.x, torch.ones_like(start), rtol=0, atol=1e-5)


def test_two_sequences_at_the_closed_form_distance():
    """d = -3/4 log(1 - 4/3 p) with p = 20 of 100 sites; the third taxon has no data."""
    n, different = 100, 20
    states = torch.full((3, n), 1, dtype=torch.uint8)
    states[1, :different], states[2] = 2, 32
    patterns = Patterns.from_alignment(Alignment(("a", "b", "c"), states))
    likelihood = TreeLikelihood(patterns, JC)
    start = Trees(random_topologies(3, 1, torch.Generator()), torch.full((1, 4), 0.3).double())
    best = optimise_lengths(likelihood, start, Options(tolerance=1e-12))
    lengths = unrooted_lengths(best.trees)[0]
    p = different / n
    assert float(lengths[0] + lengths[1]) == pytest.approx(
        -0.75 * math.log(1 - 4 * p / 3), rel=1e-5
    )


def test_the_slope_vanishes_or_points_below_zero():
    patterns = mammals()
    likelihood = TreeLikelihood(patterns, parse_model("HKY{3}+FQ+G4{0.5}").build())
    trees = random_trees(16, 6, 3)
    before = likelihood.log_likelihood(trees)
    best = optimise_lengths(likelihood, trees, Options(tolerance=1e-9))
    assert bool(best.converged.all())
    assert bool((best.log_likelihood > before).all())
    torch.testing.assert_close(likelihood.log_likelihood(best.trees), best.log_likelihood)
    slope = likelihood.log_likelihood_and_gradient(best.trees)[1]
    positive = best.trees.lengths > 1e-7
    assert float((slope * best.trees.lengths)[positive].abs().max()) < 2e-3
    assert bool((slope[~positive] < 0.5).all())


def test_the_optimum_does_not_depend_on_root_start_or_company():
    likelihood = TreeLikelihood(mammals(), JC)
    trees = random_trees(16, 3, 4)
    first = optimise_lengths(likelihood, trees)
    at = torch.tensor([3, 17, 20])
    moved = rerooted(trees, at, torch.zeros(3, dtype=torch.float64))
    missing = Trees(moved.children, torch.full_like(moved.lengths, torch.nan))
    second = optimise_lengths(likelihood, missing)
    torch.testing.assert_close(first.log_likelihood, second.log_likelihood, rtol=0, atol=1e-4)
    alone = optimise_lengths(likelihood, trees[[1]])
    torch.testing.assert_close(first.log_likelihood[[1]], alone.log_likelihood, rtol=0, atol=1e-4)
    torch.testing.assert_close(
        canonical(first.trees).lengths, canonical(second.trees).lengths, rtol=0, atol=2e-3
    )


def test_saturated_edges_stop_at_the_border():
    """Sequences without any common site: the likelihood rises for ever."""
    rows = ["A" * 20, "C" * 20, "G" * 20]
    states = torch.stack([torch.from_numpy(encode(row, "x").copy()) for row in rows])
    likelihood = TreeLikelihood(Patterns.from_alignment(Alignment(("a", "b", "c"), states)), JC)
    start = Trees(random_topologies(3, 1, torch.Generator()), torch.full((1, 4), 0.1).double())
    best = optimise_lengths(likelihood, start)
    assert float(unrooted_lengths(best.trees).max()) <= LONGEST
    assert float(best.log_likelihood) == pytest.approx(20 * math.log(1 / 64), rel=1e-3)


def test_all_improves_on_lengths_and_keeps_what_is_fixed():
    patterns = mammals()
    trees = random_trees(16, 1, 5)
    specification = parse_model("HKY+F{0.3,0.2,0.25,0.25}+G4")
    best = optimise_all(patterns, specification, trees)
    kappa, shape = best.values[0]["kappa"][0], best.values[0]["shape"][0]
    assert set(best.values[0]) == {"kappa", "shape"}
    for text in (f"HKY{{{kappa * 1.05}}}+F{{0.3,0.2,0.25,0.25}}+G4{{{shape}}}",
                 f"HKY{{{kappa}}}+F{{0.3,0.2,0.25,0.25}}+G4{{{shape * 1.05}}}"):  # fmt: skip
        near = optimise_lengths(TreeLikelihood(patterns, parse_model(text).build()), best.trees)
        assert float(near.log_likelihood) < float(best.log_likelihood)


@pytest.mark.skipif(shutil.which("iqtree2") is None, reason="iqtree2 is not on the PATH")
@pytest.mark.parametrize("model", ["JC", "HKY{2.5}+F{0.3,0.2,0.25,0.25}+G4{0.5}", "HKY+F+G4"])
def test_not_below_iqtree(tmp_path, model):
    """IQ-TREE stops at its own tolerance (about 0.01): ours may be above, not below."""
    patterns = mammals()
    trees = random_trees(16, 1, 6)
    write_newick(tmp_path / "t.nwk", trees, patterns.names)
    command = ["iqtree2", "-s", str(EMBEDDED), "-te", str(tmp_path / "t.nwk"), "-m", model]
    subprocess.run(
        [*command, "-pre", str(tmp_path / "x"), "-quiet", "-nt", "1"], check=True, timeout=120
    )
    report = (tmp_path / "x.iqtree").read_text()
    theirs = float(report.split("Log-likelihood of the tree:")[1].split()[0])
    ours = float(optimise_all(patterns, parse_model(model), trees).log_likelihood)
    assert -0.001 < ours - theirs < 0.1


# IQ-TREE 2.0.7's own maxima: lengths were optimised when the reference trees were made.
@pytest.mark.parametrize("name", ["DS1", "DS5", "primates"])
def test_the_reference_trees_are_at_their_maximum(reference_data, tmp_path, name):
    reference = json.loads(reference_data("phylogeny/reference.json").read_text())["datasets"]
    tree = reference[name]["trees"]["iqtree_ml_jc"]
    patterns = Patterns.from_alignment(read_alignment(reference_data(f"phylogeny/{name}.fasta")))
    (tmp_path / "t.nwk").write_text(tree["newick"])
    trees = read_trees(tmp_path / "t.nwk", patterns.names).trees
    flat = Trees(trees.children, torch.full_like(trees.lengths, torch.nan))
    best = optimise_lengths(TreeLikelihood(patterns, JC), flat)
    assert float(best.log_likelihood) == pytest.approx(tree["lnL_iqtree_blfix"], abs=0.01)
