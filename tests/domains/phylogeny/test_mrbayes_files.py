"""Files in MrBayes's manner, read back; MrBayes and IQ-TREE themselves where they are installed; figures."""

from __future__ import annotations

import dendropy
import pytest
import torch

from domains.phylogeny import (
    comparators,
    exact_posterior,
    figures,
    mrbayes_files,
    mrbayes_model,
    tree_mcmc,
)
from domains.phylogeny.consensus import majority_consensus
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.model_strings import parse_model
from domains.phylogeny.summaries import sample_of, split_table, topology_table
from domains.phylogeny.tree_files import read_trees
from domains.phylogeny.tree_mcmc import Config
from domains.phylogeny.tree_target import TreeTarget
from domains.phylogeny.trees import robinson_foulds, topology_keys, unrooted_lengths
from tests.domains.phylogeny import small_sets
from workbench.errors import InputError
from workbench.runs.plotting import save

JC69 = mrbayes_model.settings(parse_model("JC69"), (0.25,) * 4, 10.0)
NAMES = tuple(f"genus_{i} species" for i in range(6))


@pytest.fixture
def run(generator):
    target = TreeTarget(small_sets.random_patterns(6, 40, generator), parse_model("GTR+FO+I+G2"))
    config = Config(n_ladders=2, n_rungs=1, steps_per_round=10, rounds_per_step=5, n_warmup=0)
    state = tree_mcmc.init(config, target, generator)
    return target, tree_mcmc.run(config, target, state, 20, generator)[1]


def test_runs_are_read_back(run, tmp_path):
    target, trace = run
    paths = mrbayes_files.write_runs(tmp_path, "x", trace, NAMES, target.specification, 10)
    assert [path.name for path in paths] == ["x.run1.t", "x.run1.p", "x.run2.t", "x.run2.p"]
    back, trees = read_trees(paths[2], NAMES).trees, trace.ladder_trees(1)
    assert bool((robinson_foulds(back, trees) == 0).all())
    torch.testing.assert_close(unrooted_lengths(back).sum(1), trace.tree_length[:, 1, 0])
    header, *rows = paths[1].read_text().splitlines()[1:]
    columns = header.split("\t")
    assert columns[:4] == ["Gen", "LnL", "LnPr", "TL"]
    assert columns[4:10] == [f"r({a}<->{b})" for a, b in ("AC", "AG", "AT", "CG", "CT", "GT")]
    assert columns[10:] == ["pi(A)", "pi(C)", "pi(G)", "pi(T)", "pinvar", "alpha"]
    values = [float(value) for value in rows[-1].split("\t")]
    assert len(rows) == 20 and values[0] == 200
    assert sum(values[4:10]) == pytest.approx(1, abs=1e-5)
    assert sum(values[10:14]) == pytest.approx(1, abs=1e-5)


def test_summaries_are_read_back(run, tmp_path):
    _, trace = run
    trees = sample_of(trace)
    table, topologies = split_table(trees), topology_table(trees)
    consensus = majority_consensus(table, NAMES)
    mrbayes_files.write_consensus(tmp_path / "x.con.tre", consensus)
    tree = dendropy.Tree.get(path=tmp_path / "x.con.tre", schema="nexus")
    supports = [
        float(node.annotations.get_value("prob"))
        for node in tree.preorder_internal_node_iter()
        if node.annotations.get_value("prob") is not None
    ]
    assert len(supports) == int((table.frequency > 0.5).sum())
    mrbayes_files.write_topology_probabilities(tmp_path / "x.trprobs", trees, topologies, NAMES)
    back = read_trees(tmp_path / "x.trprobs", NAMES)
    n = topologies.credible(0.95)
    assert topology_keys(back.trees).tolist() == topologies.keys[:n].tolist()
    torch.testing.assert_close(back.weights, topologies.frequency[:n], atol=1e-8, rtol=0)
    mrbayes_files.write_split_table(
        tmp_path / "x.tsv", table, NAMES, others={"chains": table.frequency}
    )
    first = (tmp_path / "x.tsv").read_text().splitlines()[1].split("\t")
    assert first[0].count("*") == int(table.members[0].sum()) and first[0][0] == "."
    assert float(first[1]) == pytest.approx(float(table.frequency[0]), abs=1e-5) == float(first[5])
    with pytest.raises(InputError, match="40 trees and 2 generations"):
        mrbayes_files.write_tree_samples(tmp_path / "x.t", trees, NAMES, [1, 2])


def test_figures_are_drawn(run, tmp_path):
    _, trace = run
    tables = [split_table(trace.ladder_trees(i)) for i in (0, 1)]
    consensus = majority_consensus(split_table(sample_of(trace)), NAMES)
    posterior = trace.log_posterior
    drawn = {
        "tree": figures.tree_figure(consensus, "consensus"),
        "splits": figures.split_frequency_figure(tables[0], tables[1]),
        "probability": figures.log_probability_figure(posterior[:, 0], posterior[:, 0] - 2.0),
        "trace": figures.trace_figure(posterior, trace.tree_length[..., 0], 10, 5),
    }
    for name, figure in drawn.items():
        assert save(figure, tmp_path, name).stat().st_size > 5000
    texts = [text.get_text() for text in drawn["tree"].axes[0].texts]
    assert "genus 0 species" in texts
    with pytest.raises(InputError, match="20 posteriors and 3 probabilities"):
        figures.log_probability_figure(posterior[:, 0], posterior[:3, 0])


def test_an_absent_program_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert not comparators.installed("MrBayes")
    with pytest.raises(InputError, match="apt install iqtree"):
        comparators.executable("IQ-TREE")


def test_a_program_that_takes_too_long_is_stopped(reference_data):
    if not comparators.installed("MrBayes"):
        pytest.skip("MrBayes (mb) is not on the PATH")
    patterns = small_sets.six_taxa(reference_data("phylogeny/DS5.fasta"))
    config = comparators.MrBayesConfig(JC69, n_generations=100_000_000, limit_seconds=0.5)
    with pytest.raises(InputError, match="mb was stopped after"):
        comparators.mrbayes_sample(config, patterns)


def test_mrbayes_agrees_on_six_taxa(reference_data):
    if not comparators.installed("MrBayes"):
        pytest.skip("MrBayes (mb) is not on the PATH")
    patterns = small_sets.six_taxa(reference_data("phylogeny/DS5.fasta"))
    config = comparators.MrBayesConfig(JC69, 20_000, sample_every=20, n_chains=1)
    found = comparators.mrbayes_sample(config, patterns)
    shares = [topology_table(trees).frequency[0] for trees in found.trees]
    assert float(torch.stack(shares).mean()) == pytest.approx(0.8417, abs=0.06)
    assert found.log_likelihood.shape == (1001, 2)
    stones = comparators.mrbayes_marginal_likelihood(config, patterns)
    assert stones.value == pytest.approx(small_sets.SIX_TAXA_LOG_MARGINAL, abs=1.0)


def test_a_model_in_the_words_of_mrbayes():
    specification = parse_model("GTR{1,2,3,4,5}+FO+I{0.2}+G6")
    lset, prset = mrbayes_model.settings(specification, (0.25,) * 4, 5.0)
    assert lset == "lset nst=6 rates=invgamma ngammacat=6"
    assert "brlenspr=unconstrained:exp(5.0)" in prset
    assert "revmatpr=fixed(1,2,3,4,5,1)" in prset and "pinvarpr=fixed(0.2)" in prset
    assert "statefreqpr=dirichlet(1.0,1.0,1.0,1.0)" in prset and "exponential(1.0)" in prset


@pytest.mark.parametrize(
    "model", ["K80{3}+G4{0.5}", "HKY{2.5}+I{0.2}", "GTR{1,3,0.5,0.5,4}+F+G4{0.4}+I{0.1}"]
)
def test_mrbayes_agrees_on_other_models(model, reference_data, generator):
    if not comparators.installed("MrBayes"):
        pytest.skip("MrBayes (mb) is not on the PATH")
    patterns = small_sets.six_taxa(reference_data("phylogeny/DS5.fasta"))
    target = TreeTarget(patterns, parse_model(model))
    likelihood = TreeLikelihood(patterns, target.model(target.start))
    exact = exact_posterior.enumerate_posterior(
        exact_posterior.Config(n_samples=20_000), likelihood, generator
    )
    settings = mrbayes_model.settings(target.specification, target.counted, 10.0)
    config = comparators.MrBayesConfig(settings, 50_000, sample_every=50, n_chains=1)
    stones = comparators.mrbayes_marginal_likelihood(config, patterns)
    assert stones.value == pytest.approx(float(exact.log_marginal_likelihood.value), abs=1.0)


def test_iqtree_finds_the_most_likely_tree(reference_data):
    if not comparators.installed("IQ-TREE"):
        pytest.skip("IQ-TREE (iqtree2) is not on the PATH")
    patterns = small_sets.six_taxa(reference_data("phylogeny/DS5.fasta"))
    found = comparators.iqtree_search(patterns)
    target = TreeTarget(patterns)
    likelihood = TreeLikelihood(patterns, target.model(target.start))
    assert float(likelihood.log_likelihood(found.tree)[0]) == pytest.approx(
        found.log_likelihood, abs=1e-3
    )
